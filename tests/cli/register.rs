//! `register`: types from a file.

use super::program::Program;
use crate::support::hub::{Hub, Setup, run};
use serde_json::json;

#[actix_web::test]
async fn a_file_registers_what_it_holds_and_secrets_are_shown_once() {
    run(Setup::embedded(), async |hub: Hub| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("types.json");
        let stream = json!({"source": "webhook", "name": "hook", "uri": "http://127.0.0.1:9/x"});
        let all = json!([
            {"type": "shop:order", "ttl": "24days", "streams": [stream]},
            {"type": "shop:nothing", "ttl": "never"},
            {"type": "shop:view", "ttl": "ephemeral"},
        ]);
        std::fs::write(&file, all.to_string()).expect("the file is written");
        let register = || Program::new("register").argument(file.to_str().expect("a text path")).to(&hub);
        let done = register().run().await.expect(1);
        assert!(
            done.out.contains("registered shop:order, kept 24days") && done.out.contains("registered shop:view"),
            "{done:?}"
        );
        assert!(done.out.contains("secret whsec_"), "{done:?}");
        assert!(
            done.err.contains("shop:nothing: ") && done.err.contains("/ttl") && done.err.contains("1 of 3"),
            "{done:?}"
        );
        let done = register().run().await.expect(1);
        assert!(done.out.contains("replaced shop:order") && !done.out.contains("whsec_"), "{done:?}");
        let one = r#"{"type":"one","ttl":"1h"}"#;
        let done = Program::new("register - --json").input(one).to(&hub).run().await.expect(0);
        assert_eq!(done.json()["type"], "one");
        for (input, word) in [("", "not JSON"), ("[]", "no registration"), ("{", "not JSON")] {
            let done = Program::new("register -").input(input).to(&hub).run().await.expect(2);
            done.complains(&[word]);
        }
        Program::new("register /nowhere/types.json").to(&hub).run().await.expect(2).complains(&["/nowhere/types.json"]);
    })
    .await;
}
