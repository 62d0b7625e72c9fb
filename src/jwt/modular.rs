//! Arithmetic modulo an odd number, on public values only: it does not run in constant time, and nothing is accepted on its
//! word. It tells whether a point lies on its curve, and whether a signature that `ring` has no parameters for might be good.

/// The most bits of a modulus: as many as `ring` takes.
pub(super) const MAX_BITS: usize = 8192;

/// An odd modulus in Montgomery form, limbs of 64 bits, the lowest first.
pub(super) struct Modulus {
    limbs: Vec<u64>,
    /// −1 / n modulo 2^64
    inverse: u64,
    /// R² modulo n, where R is 2^64 to the number of limbs
    r_squared: Vec<u64>,
}

/// A number below its modulus, times R.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Residue(Vec<u64>);

impl Modulus {
    /// From big-endian bytes. `None` for what is even, 1, or longer than [`MAX_BITS`].
    pub(super) fn new(bytes: &[u8]) -> Option<Self> {
        let bytes = without_zeros(bytes);
        let limbs = limbs(bytes, bytes.len().div_ceil(8));
        let lowest = *limbs.first()?;
        if lowest % 2 == 0 || bytes == [1] || bytes.len() > MAX_BITS / 8 {
            return None;
        }
        // Newton's iteration: each step doubles the bits that are right, of which an odd number has three.
        let mut inverse = lowest;
        for _ in 0..5 {
            inverse = inverse.wrapping_mul(2u64.wrapping_sub(lowest.wrapping_mul(inverse)));
        }
        let mut r_squared = vec![0; limbs.len()];
        if let Some(first) = r_squared.first_mut() {
            *first = 1;
        }
        for _ in 0..limbs.len() * 128 {
            double(&mut r_squared, &limbs);
        }
        Some(Self { inverse: inverse.wrapping_neg(), limbs, r_squared })
    }

    /// Big-endian bytes as a residue. `None` if they are not below the modulus.
    pub(super) fn residue(&self, bytes: &[u8]) -> Option<Residue> {
        let bytes = without_zeros(bytes);
        if bytes.len() > self.limbs.len() * 8 {
            return None;
        }
        let value = limbs(bytes, self.limbs.len());
        if !less(&value, &self.limbs) {
            return None;
        }
        Some(Residue(self.reduce(&value, &self.r_squared)))
    }

    pub(super) fn multiply(&self, a: &Residue, b: &Residue) -> Residue {
        Residue(self.reduce(&a.0, &b.0))
    }

    pub(super) fn add(&self, a: &Residue, b: &Residue) -> Residue {
        let mut sum = a.0.clone();
        let carry = add(&mut sum, &b.0);
        if carry || !less(&sum, &self.limbs) {
            subtract(&mut sum, &self.limbs);
        }
        Residue(sum)
    }

    /// `base` to the power of big-endian `exponent`.
    pub(super) fn power(&self, base: &Residue, exponent: &[u8]) -> Residue {
        let mut one = vec![0; self.limbs.len()];
        if let Some(first) = one.first_mut() {
            *first = 1;
        }
        let mut result = Residue(self.reduce(&one, &self.r_squared));
        for byte in without_zeros(exponent) {
            for bit in (0..8).rev() {
                result = self.multiply(&result, &result);
                if byte >> bit & 1 == 1 {
                    result = self.multiply(&result, base);
                }
            }
        }
        result
    }

    /// Big-endian bytes, as many as the modulus has limbs for.
    pub(super) fn bytes(&self, residue: &Residue) -> Vec<u8> {
        let mut one = vec![0; self.limbs.len()];
        if let Some(first) = one.first_mut() {
            *first = 1;
        }
        self.reduce(&residue.0, &one).iter().rev().flat_map(|limb| limb.to_be_bytes()).collect()
    }

    /// a · b / R modulo n (Montgomery multiplication, operand scanning).
    fn reduce(&self, a: &[u64], b: &[u64]) -> Vec<u64> {
        let size = self.limbs.len();
        let mut sum = vec![0u64; size + 2];
        for digit in a {
            multiply_add(&mut sum, b, *digit);
            let factor = sum.first().copied().unwrap_or(0).wrapping_mul(self.inverse);
            multiply_add(&mut sum, &self.limbs, factor);
            sum.rotate_left(1); // the lowest limb is zero now
        }
        let over = sum.get(size).is_some_and(|limb| *limb != 0);
        sum.truncate(size);
        if over || !less(&sum, &self.limbs) {
            subtract(&mut sum, &self.limbs);
        }
        sum
    }
}

fn without_zeros(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.get(zeros..).unwrap_or_default()
}

fn limbs(bytes: &[u8], count: usize) -> Vec<u64> {
    let chunks = bytes.rchunks(8).map(|chunk| chunk.iter().fold(0u64, |limb, byte| limb << 8 | u64::from(*byte)));
    chunks.chain(std::iter::repeat(0)).take(count).collect()
}

fn less(a: &[u64], b: &[u64]) -> bool {
    a.iter().rev().lt(b.iter().rev())
}

fn add(a: &mut [u64], b: &[u64]) -> bool {
    let mut carry = false;
    for (a, b) in a.iter_mut().zip(b) {
        let (sum, over) = a.overflowing_add(*b);
        let (sum, more) = sum.overflowing_add(u64::from(carry));
        (*a, carry) = (sum, over | more);
    }
    carry
}

fn subtract(a: &mut [u64], b: &[u64]) {
    let mut borrow = false;
    for (a, b) in a.iter_mut().zip(b) {
        let (rest, under) = a.overflowing_sub(*b);
        let (rest, more) = rest.overflowing_sub(u64::from(borrow));
        (*a, borrow) = (rest, under | more);
    }
}

fn double(a: &mut [u64], modulus: &[u64]) {
    let copy = a.to_vec();
    let carry = add(a, &copy);
    if carry || !less(a, modulus) {
        subtract(a, modulus);
    }
}

/// sum += b · digit; the sum has two limbs more than b.
fn multiply_add(sum: &mut [u64], b: &[u64], digit: u64) {
    let mut carry = 0u128;
    for (place, limb) in sum.iter_mut().zip(b.iter().chain(&[0, 0])) {
        let product = u128::from(*limb) * u128::from(digit) + u128::from(*place) + carry;
        *place = product as u64;
        carry = product >> 64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn small_numbers_behave(n in 1u64.., a: u64, b: u64, e: u16) {
            let n = n | 1;
            prop_assume!(n > 1);
            let modulus = Modulus::new(&n.to_be_bytes()).unwrap();
            let of = |value: u64| modulus.residue(&(value % n).to_be_bytes()).unwrap();
            let (wide, a, b) = (u128::from(n), a % n, b % n);
            let shown = |residue: &Residue| u128::from_be_bytes({
                let mut bytes = [0; 16];
                bytes[8..].copy_from_slice(&modulus.bytes(residue));
                bytes
            });
            prop_assert_eq!(shown(&modulus.multiply(&of(a), &of(b))), u128::from(a) * u128::from(b) % wide);
            prop_assert_eq!(shown(&modulus.add(&of(a), &of(b))), (u128::from(a) + u128::from(b)) % wide);
            let power = (0..e).fold(1 % wide, |power, _| power * u128::from(a) % wide);
            prop_assert_eq!(shown(&modulus.power(&of(a), &e.to_be_bytes())), power);
        }

        #[test]
        fn long_numbers_keep_the_laws(n in proptest::collection::vec(any::<u8>(), 9..60), a in proptest::collection::vec(any::<u8>(), 1..60)) {
            let mut n = n;
            *n.last_mut().unwrap() |= 1;
            let Some(modulus) = Modulus::new(&n) else { return Ok(()) };
            let Some(a) = modulus.residue(&a) else { return Ok(()) };
            let cube = modulus.multiply(&modulus.multiply(&a, &a), &a);
            prop_assert!(cube == modulus.power(&a, &[3]));
            prop_assert!(modulus.multiply(&modulus.add(&a, &a), &a) == modulus.add(&modulus.multiply(&a, &a), &modulus.multiply(&a, &a)));
            let bytes = modulus.bytes(&a);
            prop_assert!(modulus.residue(&bytes) == Some(a));
        }
    }

    #[test]
    fn what_is_no_modulus() {
        for bytes in [&[][..], &[0], &[1], &[0, 2], &[1, 0], &[0, 1], &[0xff; MAX_BITS / 8 + 1]] {
            assert!(Modulus::new(bytes).is_none(), "{} bytes", bytes.len());
        }
        let seven = Modulus::new(&[7]).unwrap();
        assert!(seven.residue(&[7]).is_none() && seven.residue(&[1; 9]).is_none());
    }
}
