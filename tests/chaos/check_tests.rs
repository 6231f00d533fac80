//! The checks on made-up evidence: each broken promise is found, as what it is, and a kept one is not.
