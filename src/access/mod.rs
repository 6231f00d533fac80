//! Who may do what: tokens, their scopes and limits, and how often they may ask.
//!
//! Pure values without HTTP. `config` makes them of `auth.tokens`, `http` asks them at every door.
//!
//! | file | what |
//! | --- | --- |
//! | `scope` | what a token is for |
//! | `token` | one token: its hash, scopes and limits; making a new one |
//! | `caller` | who is asking, and what he may see |
//! | `tokens` | the tokens in force, which may change while the hub runs |
//! | `rate` | how often a token may be used |
//! | `seal` | a token in a browser's cookie |

mod caller;
mod rate;
mod scope;
mod seal;
mod token;
mod tokens;

pub use caller::Caller;
pub use rate::{Limiter, Rate, Standing};
pub use scope::{Scope, Scopes};
pub use seal::{seal, unseal};
pub use token::{Token, TokenHash, generate};
pub use tokens::{Access, Changed, Pass};

#[cfg(test)]
mod tests {
    use super::*;

    /// A token whose text is its name.
    pub fn token(name: &str) -> Token {
        Token {
            name: name.to_owned(),
            hash: TokenHash::of(name),
            scopes: Scope::ALL.into_iter().collect(),
            types: None,
            client: None,
            limiter: None,
        }
    }
}
