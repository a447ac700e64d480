//! A place in the log, and the opaque text that readers keep of it.
//!
//! Promises: a text comes back as the place it was made of; a text that was changed, invented, or made by another installation is
//! `Invalid`, whichever it was. Whether the log still has the place, and still the same transaction there, is for `read` to say.
//! Pure.

use crate::base::ids::HashKey;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq as _;
use uuid::Uuid;

const VERSION: u8 = 1;
const BODY: usize = 21;
const MAC: usize = 8;

/// As `n` or `k`: all there is at the position, or in the row.
pub const END: u32 = u32::MAX;

/// A place in the log: everything up to it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Of the transaction; 0: before the beginning.
    pub position: i64,
    /// The row inside the transaction, or `END`.
    pub n: u32,
    /// The entry inside the row, or `END`.
    pub k: u32,
    /// The first bytes of the transaction's id: after a restore another one may have its position.
    pub tag: [u8; 4],
}

impl Place {
    /// Before the first change that ever was.
    pub const BEGINNING: Self = Self {
        position: 0,
        n: END,
        k: END,
        tag: [0; 4],
    };

    /// Behind a whole transaction.
    pub fn behind(position: i64, transaction: Uuid) -> Self {
        Self {
            position,
            n: END,
            k: END,
            tag: tag_of(transaction),
        }
    }

    /// Behind one entry of a row.
    pub fn at(position: i64, transaction: Uuid, n: u32, k: u32) -> Self {
        Self {
            position,
            n,
            k,
            tag: tag_of(transaction),
        }
    }

    /// As readers keep it.
    pub fn to_text(self, key: &HashKey) -> String {
        let body = self.body();
        let mut bytes = [0; BODY + MAC];
        bytes[..BODY].copy_from_slice(&body);
        bytes[BODY..].copy_from_slice(&mac(key, &body));
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The place in a text; `None` when this installation never made that text.
    pub fn parse(text: &str, key: &HashKey) -> Option<Self> {
        let bytes: [u8; BODY + MAC] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
        let (body, given) = bytes.split_at(BODY);
        let body: [u8; BODY] = body.try_into().ok()?;
        if !bool::from(mac(key, &body).ct_eq(given)) || body[0] != VERSION {
            return None;
        }
        let place = Self {
            position: i64::from_be_bytes(body[1..9].try_into().ok()?),
            n: u32::from_be_bytes(body[9..13].try_into().ok()?),
            k: u32::from_be_bytes(body[13..17].try_into().ok()?),
            tag: body[17..].try_into().ok()?,
        };
        (place.position >= 0).then_some(place)
    }

    fn body(self) -> [u8; BODY] {
        let mut body = [0; BODY];
        body[0] = VERSION;
        body[1..9].copy_from_slice(&self.position.to_be_bytes());
        body[9..13].copy_from_slice(&self.n.to_be_bytes());
        body[13..17].copy_from_slice(&self.k.to_be_bytes());
        body[17..].copy_from_slice(&self.tag);
        body
    }
}

/// What a place remembers of a transaction.
pub fn tag_of(transaction: Uuid) -> [u8; 4] {
    // Ids of transactions begin with their time; the last bytes are the random ones.
    let bytes = transaction.into_bytes();
    [bytes[12], bytes[13], bytes[14], bytes[15]]
}

fn mac(key: &HashKey, body: &[u8]) -> [u8; MAC] {
    let whole = key.id("cursor", &[body]).into_bytes();
    let mut mac = [0; MAC];
    mac.copy_from_slice(&whole[..MAC]);
    mac
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: HashKey = HashKey::new([7; 32]);

    #[test]
    fn a_cursor_of_another_installation_and_nonsense_are_no_cursors() {
        let text = Place::behind(42, Uuid::from_u128(9)).to_text(&KEY);
        assert!(Place::parse(&text, &KEY).is_some());
        assert_eq!(Place::parse(&text, &HashKey::new([8; 32])), None);
        for nonsense in ["", "42", "ü", "AAAA", &text[1..], &format!("{text}A"), &"A".repeat(39)] {
            assert_eq!(Place::parse(nonsense, &KEY), None, "{nonsense}");
        }
    }

    proptest! {
        #[test]
        fn a_cursor_comes_back_as_it_was_and_any_changed_bit_is_noticed(
            position in 0..i64::MAX, n in any::<u32>(), k in any::<u32>(), id in any::<u128>(), bit in 0..(BODY + MAC) * 8,
        ) {
            let place = Place::at(position, Uuid::from_u128(id), n, k);
            let text = place.to_text(&KEY);
            prop_assert_eq!(Place::parse(&text, &KEY), Some(place));
            let mut bytes = URL_SAFE_NO_PAD.decode(&text).unwrap();
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(Place::parse(&URL_SAFE_NO_PAD.encode(bytes), &KEY), None);
        }

        #[test]
        fn places_are_in_the_order_of_the_log(a in (0..9_i64, 0..9_u32, 0..9_u32), b in (0..9_i64, 0..9_u32, 0..9_u32)) {
            let place = |(position, n, k)| Place { position, n, k, tag: [0; 4] };
            prop_assert_eq!(place(a).cmp(&place(b)), a.cmp(&b));
        }
    }
}
