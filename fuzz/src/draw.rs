//! Numbers drawn from an input, so that the input can stay what it is: a file, a line, a name.

/// Numbers without end, the same for the same input (FNV-1a, then splitmix64).
pub struct Draw(u64);

impl Draw {
    /// Seeded by these bytes.
    pub fn from(bytes: &[u8]) -> Self {
        Self(bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        }))
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number of any magnitude: small ones are as likely as large ones.
    pub fn magnitude(&mut self) -> u64 {
        let bits = self.number() % 65;
        self.number().checked_shr(64 - u32::try_from(bits).unwrap()).unwrap_or(0)
    }

    /// A number below `end`; 0 when there is none.
    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap().max(1);
        usize::try_from(self.number() % end).unwrap()
    }
}
