//! What tells that a form came from a page of the session: made from the session's token, so that all gateways know it and none
//! has to keep it.

use flotilla_common::ids::hex;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

/// What the token signs.
const WHAT: &[u8] = b"flotilla csrf 1";

/// What a form of this token's session has to send along: 64 digits. The token cannot be told from it.
pub(crate) fn csrf_of(secret: &str) -> String {
    Hmac::<Sha256>::new_from_slice(secret.as_bytes())
        .map(|mac| hex(&mac.chain_update(WHAT).finalize().into_bytes()))
        .unwrap_or_default()
}

/// Whether it is the one that was given; where there is none, nothing is.
pub(super) fn same(csrf: &str, given: &str) -> bool {
    !csrf.is_empty() && bool::from(csrf.as_bytes().ct_eq(given.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_has_its_own_and_nothing_is_none() {
        let (one, other) = (csrf_of("flt_a"), csrf_of("flt_b"));
        assert_eq!((one.len(), one == other), (64, false));
        assert!(same(&one, &one) && !same(&one, &other));
        assert!(!same(&one, "") && !same("", ""));
    }
}
