//! Numbers that look random and are the same for the same seed.

/// SplitMix64: small, and the same everywhere for the same seed.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64, number: usize) -> Self {
        let mut random = Self(seed.wrapping_mul(0xd134_2543_de82_ef95) ^ number as u64);
        // The first numbers of neighbouring states are alike.
        random.next();
        random
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 if that is 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next().checked_rem(bound).unwrap_or(0)
    }

    /// True in this many cases of a hundred.
    pub(super) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(super) fn pick<T: Copy + Default>(&mut self, from: &[T]) -> T {
        let index = self.below(from.len() as u64) as usize;
        from.get(index).copied().unwrap_or_default()
    }

    /// At most `wanted` different numbers below `bound`.
    pub(super) fn distinct(&mut self, wanted: usize, bound: usize) -> Vec<usize> {
        let start = self.below(bound as u64) as usize;
        let step = 1 + self.below(3) as usize;
        let mut chosen = Vec::new();
        for index in 0..wanted.min(bound) {
            let number = (start + index * step) % bound;
            if !chosen.contains(&number) {
                chosen.push(number);
            }
        }
        chosen
    }

    pub(super) fn bytes(&mut self) -> [u8; 16] {
        let number = (u128::from(self.next()) << 64) | u128::from(self.next());
        number.to_be_bytes()
    }
}
