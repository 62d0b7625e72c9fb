//! A walk over DER (X.690), as far as public keys need it: SubjectPublicKeyInfo (RFC 5280, section 4.1), alone or inside a
//! certificate. Lengths are bounded by the input; nothing recurses.

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
/// `[0] EXPLICIT`, the version of a certificate.
const VERSION: u8 = 0xa0;

/// Elements that lie behind one another.
pub(super) struct Der<'a>(&'a [u8]);

/// What kind of key, the parameters as they are written, and the key's bits, which are whole bytes.
pub(super) struct SubjectPublicKeyInfo<'a> {
    pub(super) algorithm: &'a [u8],
    pub(super) parameters: &'a [u8],
    pub(super) key: &'a [u8],
}

impl<'a> Der<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next element: its tag and what it holds.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        if tag & 0x1f == 0x1f {
            return None; // tags of several bytes do not occur here
        }
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x84 => {
                let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                let length = digits.iter().fold(0usize, |sum, digit| sum << 8 | usize::from(*digit));
                // The shortest form is the only one.
                let shortest = digits.first().is_some_and(|digit| *digit != 0) && length > 0x7f;
                (shortest.then_some(length)?, rest)
            }
            _ => return None,
        };
        let (held, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, held))
    }

    fn need(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|(found, _)| *found == tag).map(|(_, held)| held)
    }

    pub(super) fn sequence(&mut self) -> Option<Self> {
        self.need(SEQUENCE).map(Self)
    }

    pub(super) fn oid(&mut self) -> Option<&'a [u8]> {
        self.need(OID)
    }

    /// A positive INTEGER, big-endian, without leading zeros.
    pub(super) fn unsigned(&mut self) -> Option<&'a [u8]> {
        match self.need(INTEGER)? {
            [0, rest @ ..] if rest.first().is_some_and(|byte| *byte >= 0x80) => Some(rest),
            held if held.first().is_some_and(|byte| (1..0x80).contains(byte)) => Some(held),
            _ => None,
        }
    }
}

impl<'a> SubjectPublicKeyInfo<'a> {
    /// Reads a PKIX public key and nothing behind it.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut outer = Der::new(bytes);
        let info = Self::of(outer.sequence()?)?;
        outer.is_empty().then_some(info)
    }

    fn of(mut info: Der<'a>) -> Option<Self> {
        let mut algorithm = info.sequence()?;
        let bits = info.need(BIT_STRING)?;
        let (unused, key) = bits.split_first()?;
        let whole = *unused == 0 && info.is_empty();
        whole.then_some(Self { algorithm: algorithm.oid()?, parameters: algorithm.0, key })
    }

    /// Reads the key out of an X.509 certificate. Its dates and its signature are not looked at.
    pub(super) fn of_certificate(bytes: &'a [u8]) -> Option<Self> {
        let mut outer = Der::new(bytes);
        let mut certificate = outer.sequence()?;
        let mut signed = certificate.sequence()?;
        if signed.0.first() == Some(&VERSION) {
            signed.next()?;
        }
        signed.need(INTEGER)?; // serial number
        for _ in ["signature", "issuer", "validity", "subject"] {
            signed.sequence()?;
        }
        let info = Self::of(signed.sequence()?)?;
        certificate.sequence()?; // signature algorithm
        certificate.need(BIT_STRING)?;
        (certificate.is_empty() && outer.is_empty()).then_some(info)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lengths_have_one_form() {
        assert_eq!(Der::new(&[4, 1, 9]).next(), Some((4, &[9][..])));
        let long = [[4, 0x81, 0x80].as_slice(), &[0; 0x80]].concat();
        assert_eq!(Der::new(&long).next(), Some((4, &[0; 0x80][..])));
        for bytes in [&[][..], &[4], &[4, 2, 0], &[4, 0x80], &[4, 0x81, 1, 0], &[4, 0x85, 0, 0, 0, 0, 1], &[0x1f, 0]] {
            assert!(Der::new(bytes).next().is_none(), "{bytes:?}");
        }
    }

    #[test]
    fn integers_are_positive_and_short() {
        for (bytes, wanted) in [
            (&[2, 1, 3][..], Some(&[3][..])),
            (&[2, 2, 0, 0x80], Some(&[0x80])),
            (&[2, 1, 0], None),
            (&[2, 2, 0, 3], None),
            (&[2, 1, 0x80], None),
            (&[2, 0], None),
        ] {
            assert_eq!(Der::new(bytes).unsigned(), wanted, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = SubjectPublicKeyInfo::read(&bytes);
            let _ = SubjectPublicKeyInfo::of_certificate(&bytes);
        }
    }
}
