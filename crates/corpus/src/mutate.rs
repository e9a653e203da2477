//! Changes to an input that decoders often get wrong: flipped bits, cuts, splices, lengths.
//!
//! Not here: learning what a change led to; libFuzzer does that (`fuzz/`).

/// Bytes at the edges of what a length or a tag may be.
const EDGES: [u8; 8] = [0, 1, 2, 0x7f, 0x80, 0x81, 0xfe, 0xff];
/// Changes of one input at most.
const CHANGES_MAX: u64 = 4;

/// Makes inputs from one, each another, always the same.
pub struct Mutator {
    state: u64,
}

impl Mutator {
    /// A mutator whose sequence depends on `input` alone.
    pub fn new(input: &[u8]) -> Mutator {
        // FNV-1a; never 0, where xorshift would stay.
        let state = input.iter().fold(0xcbf2_9ce4_8422_2325_u64, |state, byte| {
            (state ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Mutator { state: state | 1 }
    }

    /// The next change of `input`; `others` lend their parts.
    pub fn mutate(&mut self, input: &[u8], others: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = input.to_vec();
        for _ in 0..=self.below(CHANGES_MAX) {
            self.change(&mut bytes, others);
        }
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>, others: &[Vec<u8>]) {
        let at = self.below(bytes.len() as u64 + 1) as usize;
        let (from, to) = self.range(bytes.len());
        match self.below(9) {
            0..2 => {
                let bit = self.below(8);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << bit;
                }
            }
            2 => {
                let edge = EDGES[self.below(EDGES.len() as u64) as usize];
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = edge;
                }
            }
            3 => bytes.truncate(at),
            4 => drop(bytes.drain(from..to)),
            5 => {
                let part = bytes[from..to].to_vec();
                drop(bytes.splice(at..at, part));
            }
            6 if !others.is_empty() => {
                let other = &others[self.below(others.len() as u64) as usize];
                let (first, last) = self.range(other.len());
                drop(bytes.splice(from..to, other[first..last].iter().copied()));
            }
            7 => self.number(bytes, at),
            _ => bytes.insert(at, self.next() as u8),
        }
    }

    /// Writes a number of 4 or 8 bytes at `at`, of either order: small, or at an edge.
    fn number(&mut self, bytes: &mut [u8], at: usize) {
        let width = if self.below(2) == 0 { 4 } else { 8 };
        let number = match self.below(4) {
            0 => self.below(300),
            1 => u64::MAX - self.below(3),
            2 => 1 << self.below(64),
            _ => self.next(),
        };
        let mut written = number.to_le_bytes();
        if self.below(2) == 0 {
            written[..width].reverse();
        }
        if let Some(place) = bytes.get_mut(at..at + width) {
            place.copy_from_slice(&written[..width]);
        }
    }

    /// A part of `length` bytes: mostly short, perhaps empty.
    fn range(&mut self, length: usize) -> (usize, usize) {
        let from = self.below(length as u64 + 1) as usize;
        let most = if self.below(4) == 0 { length } else { 16 };
        let bytes = self.below(most as u64 + 1) as usize;
        (from, length.min(from + bytes))
    }

    /// A number in `0..below`; `below` is not 0.
    fn below(&mut self, below: u64) -> u64 {
        self.next() % below
    }

    /// xorshift64* (Vigna 2016).
    fn next(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}
