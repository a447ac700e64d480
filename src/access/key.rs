//! The text of keys: `tributary_<kind>_<id>_<secret><checksum>`. The kind and the checksum let scanners and people recognise a key and
//! let a mistyped one be refused without looking for it among the keys; the secret has 256 random bits, so a fast hash of it is enough.

use crate::base::Ids;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{Ed25519KeyPair, KeyPair as _};

/// What kind of key a text claims to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    Api,
    Write,
}

impl KeyKind {
    const fn prefix(self) -> &'static str {
        match self {
            Self::Api => "tributary_api_",
            Self::Write => "tributary_write_",
        }
    }
}

/// A new key: its public id and its whole text, shown once.
#[derive(Clone, Debug)]
pub struct KeyText {
    pub id: String,
    pub text: String,
}

/// Makes a key.
pub fn new_key(kind: KeyKind, ids: &Ids) -> KeyText {
    let id = hex(&ids.bytes::<6>());
    let secret = hex(&ids.bytes::<32>());
    let body = format!("{}{id}_{secret}", kind.prefix());
    KeyText {
        text: format!("{body}{}", checksum(&body)),
        id,
    }
}

/// A new pair for signing tokens.
#[derive(Clone)]
pub struct NewPair {
    /// What tokens name as `kid`.
    pub id: String,
    /// Ed25519, 32 bytes.
    pub public_key: Vec<u8>,
    /// PKCS#8 as PEM, which every JWT library reads; shown once.
    pub private_pem: String,
}

/// What stands before the seed in the first version of PKCS#8 (RFC 8410): some libraries do not read the second, which ring writes.
const PKCS8_ED25519: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];
/// What stands before the key in a SubjectPublicKeyInfo (RFC 8410).
const SPKI_ED25519: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Makes a pair.
pub fn new_pair(ids: &Ids) -> NewPair {
    let id = hex(&ids.bytes::<6>());
    let seed = ids.bytes::<32>();
    let pair = Ed25519KeyPair::from_seed_unchecked(&seed).expect("any 32 bytes are a seed");
    NewPair {
        id,
        public_key: pair.public_key().as_ref().to_vec(),
        private_pem: pem("PRIVATE KEY", &[PKCS8_ED25519.as_slice(), &seed].concat()),
    }
}

/// A public key as PEM.
pub fn public_pem(public_key: &[u8]) -> String {
    pem("PUBLIC KEY", &[SPKI_ED25519.as_slice(), public_key].concat())
}

/// Keys of this length fit one line.
fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

/// The text of a new write key of a source.
pub fn new_write_key(ids: &Ids) -> String {
    new_key(KeyKind::Write, ids).text
}

/// The id inside the text of an API key; `None` when it is no such key or was mistyped.
pub fn api_key_id(text: &str) -> Option<&str> {
    let rest = text.strip_prefix(KeyKind::Api.prefix())?;
    let body = text.get(..text.len().checked_sub(8)?)?;
    if text.get(text.len() - 8..)? != checksum(body) {
        return None;
    }
    rest.split_once('_').map(|(id, _)| id)
}

/// Whether a text can be the id of a key.
pub fn is_id(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// What is stored of a key: BLAKE3 of its whole text.
pub fn digest(text: &str) -> [u8; 32] {
    *blake3::hash(text.as_bytes()).as_bytes()
}

/// Whether a key's text has this digest, in a time that does not depend on where they differ.
pub fn matches(text: &str, stored: &[u8]) -> bool {
    use subtle::ConstantTimeEq as _;
    digest(text).as_slice().ct_eq(stored).into()
}

fn checksum(body: &str) -> String {
    hex(&blake3::hash(body.as_bytes()).as_bytes()[..4])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_recognised_and_a_mistyped_one_is_not() {
        let key = new_key(KeyKind::Api, &Ids::seeded(1));
        assert_eq!(api_key_id(&key.text), Some(key.id.as_str()));
        assert!(matches(&key.text, &digest(&key.text)));
        let changed = key.text.replacen(&key.id, "000000000000", 1);
        let shouting = key.text.to_uppercase();
        for wrong in [
            changed.as_str(),
            shouting.as_str(),
            &format!("{} ", key.text),
            "tributary_api_",
            "tributary_api_é",
            "x",
        ] {
            assert_eq!(api_key_id(wrong), None, "{wrong}");
        }
        assert_eq!(api_key_id(&new_write_key(&Ids::seeded(1))), None);
    }
}
