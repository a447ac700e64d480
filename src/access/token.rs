//! Subject tokens: JSON Web Tokens that a company's back end signs for one signed-in visitor, so that a page may read what is theirs.
//!
//! Promises: one algorithm, EdDSA with Ed25519, whatever a token says of itself; a token without an end, or with a longer life than
//! the configuration allows, is none; whatever is wrong with a token, the answer is the same. Pure.
//!
//! A general JWT library would bring families of algorithms to be switched off one by one; what is left is RFC 7515 in its compact
//! form for one of them. The signature itself is verified by ring.

use super::{Actor, Subject};
use crate::base::Instant;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use entity::IdentifierKind;
use ring::signature::{ED25519, UnparsedPublicKey};
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::time::Duration;

/// How far two clocks may lie apart, in seconds.
const LEEWAY: f64 = 60.0;
/// A value that is longer was shown by nobody.
const MAX_SUBJECT_CHARS: usize = 1024;

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: String,
    /// Extensions that must be understood; none is.
    crit: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    exp: f64,
    nbf: Option<f64>,
    iat: Option<f64>,
    kind: Option<String>,
    namespace: Option<String>,
}

/// A text that has the form of a token; nothing in it is verified.
pub struct Token<'t> {
    /// Which key it says it was signed with.
    pub key_id: String,
    signed: &'t str,
    claims: &'t str,
    signature: Vec<u8>,
}

impl<'t> Token<'t> {
    /// Takes a text apart; `None` when it is no token, or not one of ours by its algorithm.
    pub fn parse(text: &'t str) -> Option<Self> {
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let header: Header = decode(header)?;
        if header.alg != "EdDSA" || header.crit.is_some() {
            return None;
        }
        Some(Self {
            key_id: header.kid,
            signed,
            claims,
            signature: URL_SAFE_NO_PAD.decode(signature).ok()?,
        })
    }

    /// From when on it holds no more, the leeway included; `None` when it cannot be read. Not verified.
    pub fn ends(&self) -> Option<Instant> {
        let claims: Claims = decode(self.claims)?;
        Instant::from_epoch_number(claims.exp + LEEWAY)
    }

    /// Whom it speaks for; `None` when this key did not sign it, or it does not hold now.
    pub fn verify(&self, public_key: &[u8], now: Instant, longest: Duration) -> Option<Subject> {
        let key = UnparsedPublicKey::new(&ED25519, public_key);
        key.verify(self.signed.as_bytes(), &self.signature).ok()?;
        let claims: Claims = decode(self.claims)?;
        if !claims.holds(now.micros() as f64 / 1e6, longest.as_secs_f64()) {
            return None;
        }
        let kind = match claims.kind.as_deref() {
            None => IdentifierKind::UserId,
            Some(name) => IdentifierKind::named(name)?,
        };
        let namespace = claims.namespace.unwrap_or_default();
        let is_named = !claims.sub.is_empty() && claims.sub.chars().count() <= MAX_SUBJECT_CHARS;
        let is_unique = kind != IdentifierKind::ExternalId || !namespace.is_empty();
        (is_named && is_unique).then(|| Subject {
            actor: Actor::new(format!("key:{}", self.key_id)),
            kind,
            namespace,
            value: claims.sub,
        })
    }
}

impl Claims {
    /// Whether it holds at this instant, in seconds since 1970. A token that does not say when it was made is as if made now.
    fn holds(&self, now: f64, longest: f64) -> bool {
        let begins = |at: Option<f64>| at.is_none_or(|at| at - LEEWAY <= now);
        let made = self.iat.unwrap_or(now).min(now);
        self.exp + LEEWAY > now && begins(self.nbf) && begins(self.iat) && self.exp - made <= longest + LEEWAY
    }
}

fn decode<T: for<'de> Deserialize<'de>>(part: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::super::key::{NewPair, new_pair};
    use super::*;
    use crate::base::Ids;
    use base64::engine::general_purpose::STANDARD;
    use ring::signature::Ed25519KeyPair;
    use serde_json::{Value, json};

    const NOW: i64 = 1_800_000_000;
    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn signer(pair: &NewPair) -> Ed25519KeyPair {
        let line = pair.private_pem.lines().nth(1).expect("a line of base64");
        let der = STANDARD.decode(line).expect("base64");
        Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).expect("PKCS#8")
    }

    fn part(json: &Value) -> String {
        URL_SAFE_NO_PAD.encode(json.to_string())
    }

    fn signed(pair: &NewPair, header: &Value, claims: &Value) -> String {
        let text = format!("{}.{}", part(header), part(claims));
        let signature = signer(pair).sign(text.as_bytes());
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }

    fn read(pair: &NewPair, text: &str) -> Option<Subject> {
        let token = Token::parse(text).filter(|token| token.key_id == pair.id)?;
        token.verify(&pair.public_key, Instant::from_micros(NOW * 1_000_000), DAY)
    }

    #[test]
    fn a_token_speaks_for_whom_it_names() {
        let pair = new_pair(&Ids::seeded(1));
        let header = json!({"alg": "EdDSA", "typ": "JWT", "kid": pair.id});
        let subject = |claims: Value| read(&pair, &signed(&pair, &header, &claims)).map(|it| (it.kind, it.namespace, it.value));
        let soon = NOW + 300;
        assert_eq!(
            subject(json!({"sub": "u-1", "exp": soon, "iat": NOW, "nbf": NOW, "aud": "tributary"})),
            Some((IdentifierKind::UserId, String::new(), "u-1".to_owned()))
        );
        assert_eq!(
            subject(json!({"sub": "7", "kind": "EXTERNAL_ID", "namespace": "crm", "exp": soon})),
            Some((IdentifierKind::ExternalId, "crm".to_owned(), "7".to_owned()))
        );
        assert_eq!(
            subject(json!({"sub": "A@X.test", "kind": "EMAIL", "exp": soon})).map(|it| it.2),
            Some("A@X.test".to_owned())
        );
        for refused in [
            json!({"exp": soon}),
            json!({"sub": "", "exp": soon}),
            json!({"sub": 7, "exp": soon}),
            json!({"sub": "x".repeat(1025), "exp": soon}),
            json!({"sub": "7", "kind": "EXTERNAL_ID", "exp": soon}),
            json!({"sub": "7", "kind": "user_id", "exp": soon}),
            json!({"sub": "7", "kind": 1, "exp": soon}),
            json!(["u-1"]),
        ] {
            assert_eq!(subject(refused.clone()), None, "{refused}");
        }
    }

    #[test]
    fn a_token_holds_for_its_time_and_no_longer_than_allowed() {
        let pair = new_pair(&Ids::seeded(1));
        let header = json!({"alg": "EdDSA", "kid": pair.id});
        let day = 24 * 3600;
        let cases = [
            ("it has no end", json!({}), false),
            ("an end that is no number", json!({"exp": "tomorrow"}), false),
            ("ended a minute ago", json!({"exp": NOW - 60}), false),
            ("ended within the leeway", json!({"exp": NOW - 59}), true),
            ("a whole day", json!({"exp": NOW + day}), true),
            ("more than a day", json!({"exp": NOW + day + 61}), false),
            (
                "a whole day from its making",
                json!({"iat": NOW - 3600, "exp": NOW - 3600 + day}),
                true,
            ),
            (
                "more than a day from its making",
                json!({"iat": NOW - 3600, "exp": NOW - 3600 + day + 61}),
                false,
            ),
            (
                "made in the future to live longer",
                json!({"iat": NOW + 50, "exp": NOW + 50 + day + 60}),
                false,
            ),
            ("made within the leeway", json!({"iat": NOW + 60, "exp": NOW + 300}), true),
            ("made in the future", json!({"iat": NOW + 61, "exp": NOW + 300}), false),
            ("not yet", json!({"nbf": NOW + 61, "exp": NOW + 300}), false),
            ("just now", json!({"nbf": NOW + 60, "exp": NOW + 300}), true),
            (
                "fractions of seconds",
                json!({"iat": NOW as f64 - 0.5, "exp": NOW as f64 + 0.25}),
                true,
            ),
            ("an end beyond all numbers", json!({"exp": 1e300}), false),
        ];
        for (what, claims, holds) in cases {
            let mut claims = claims;
            claims["sub"] = "u".into();
            assert_eq!(read(&pair, &signed(&pair, &header, &claims)).is_some(), holds, "{what}");
        }
    }

    #[test]
    fn only_this_algorithm_and_this_key_are_believed() {
        let (pair, other) = (new_pair(&Ids::seeded(1)), new_pair(&Ids::seeded(2)));
        let claims = json!({"sub": "u-1", "exp": NOW + 300});
        let header = json!({"alg": "EdDSA", "kid": pair.id});
        let good = signed(&pair, &header, &claims);
        assert!(read(&pair, &good).is_some());
        for header in [
            json!({"alg": "none", "kid": pair.id}),
            json!({"alg": "HS256", "kid": pair.id}),
            json!({"alg": "RS256", "kid": pair.id}),
            json!({"alg": "eddsa", "kid": pair.id}),
            json!({"alg": "EdDSA"}),
            json!({"kid": pair.id}),
            json!({"alg": "EdDSA", "kid": 7}),
            json!({"alg": "EdDSA", "kid": pair.id, "crit": ["b64"], "b64": false}),
        ] {
            assert_eq!(read(&pair, &signed(&pair, &header, &claims)), None, "{header}");
        }
        // Another key's signature under this key's name, and none at all.
        assert_eq!(read(&pair, &signed(&other, &header, &claims)), None);
        let (unsigned, _) = good.rsplit_once('.').expect("three parts");
        assert_eq!(read(&pair, &format!("{unsigned}.")), None);
        // Other claims under the same signature.
        let (_, signature) = good.rsplit_once('.').expect("three parts");
        let forged = part(&json!({"sub": "u-2", "exp": NOW + 300}));
        assert_eq!(read(&pair, &format!("{}.{forged}.{signature}", part(&header))), None);
        for text in [
            "",
            ".",
            "..",
            "a.b.c",
            "....",
            &format!("{good}="),
            &format!("{good}.x"),
            "é.é.é",
        ] {
            assert!(read(&pair, text).is_none(), "{text}");
        }
        // A claim told twice is read by nobody in the same way.
        let twice = URL_SAFE_NO_PAD.encode(format!(r#"{{"sub":"a","sub":"b","exp":{}}}"#, NOW + 300));
        let text = format!("{}.{twice}", part(&header));
        let signature = URL_SAFE_NO_PAD.encode(signer(&pair).sign(text.as_bytes()).as_ref());
        assert_eq!(read(&pair, &format!("{text}.{signature}")), None);
    }
}
