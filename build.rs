//! Takes what `/docs` serves out of the published Swagger UI, compressed as it is in there.
#![allow(clippy::print_stdout, reason = "this is how a build script speaks to cargo")]

use std::error::Error;
use std::fmt::Write;
use std::io::{Cursor, Read};
use std::path::PathBuf;
use std::{env, fs};
use utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED;
use zip::{CompressionMethod, ZipArchive};

/// File of the distribution, and its media type.
const FILES: &[(&str, &str)] =
    &[("swagger-ui.css", "text/css; charset=utf-8"), ("swagger-ui-bundle.js", "text/javascript; charset=utf-8")];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    let mut archive = ZipArchive::new(Cursor::new(SWAGGER_UI_VENDORED))?;
    let mut table = String::from("&[\n");
    for (name, media_type) in FILES {
        let end = format!("/dist/{name}");
        let is_it = |at: &usize| matches!(archive.name_for_index(*at), Some(Ok(path)) if path.ends_with(&end));
        let found = (0..archive.len()).find(is_it);
        let mut file = archive.by_index_raw(found.ok_or_else(|| format!("Swagger UI has no {name}"))?)?;
        if file.compression() != CompressionMethod::DEFLATE {
            return Err(format!("{name} is not deflated").into());
        }
        let (sum, size) = (file.crc32(), u32::try_from(file.size())?);
        // A member of a gzip file (RFC 1952): no name, no time, the same stream, its checksum and its length.
        let mut gzip = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
        file.read_to_end(&mut gzip)?;
        gzip.extend_from_slice(&sum.to_le_bytes());
        gzip.extend_from_slice(&size.to_le_bytes());
        fs::write(out.join(name), gzip)?;
        let at = out.join(name);
        writeln!(table, "    ({name:?}, {media_type:?}, {:?}, include_bytes!({at:?})),", format!("{sum:08x}"))?;
    }
    table.push(']');
    fs::write(out.join("swagger_ui.rs"), table)?;
    Ok(())
}
