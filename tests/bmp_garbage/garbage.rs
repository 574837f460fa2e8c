// SPDX-License-Identifier: AGPL-3.0-only
//! Captures with bytes changed, cut out and put in, and bytes from nowhere.

pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        // xorshift64
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// Values that lengths and types break at, more often than others.
    pub fn byte(&mut self) -> u8 {
        match self.below(4) {
            0 => [0, 1, 2, 32, 33, 127, 128, 129, 254, 255][self.below(10)],
            _ => self.next() as u8,
        }
    }

    pub fn seed() -> u64 {
        let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        time.unwrap().as_nanos() as u64 | 1
    }
}

/// Changes a message. Mostly its length stays that of the header, so that the parser gets further.
fn mutate(random: &mut Random, message: &mut Vec<u8>) {
    for _ in 0..1 + random.below(4) {
        let at = random.below(message.len());
        match random.below(8) {
            0 => message.truncate(at.max(7)),
            1 => message.insert(at, random.byte()),
            2 => drop(message.drain(at..(at + random.below(40)).min(message.len()))),
            3 => {
                let piece: Vec<u8> = message[at..].iter().take(50).copied().collect();
                message.extend(piece);
            }
            _ => message[at] = random.byte(),
        }
        if message.len() < 7 {
            *message = (0..50).map(|_| random.byte()).collect();
        }
    }
    if random.below(50) > 0 {
        message[0] = 3;
        let length = (message.len() as u32).to_be_bytes();
        message[1..5].copy_from_slice(&length);
    }
    // and that of the BGP message in it
    if message.len() > 66 && random.below(4) > 0 {
        let length = (message.len() as u16 - 48).to_be_bytes();
        message[64..66].copy_from_slice(&length);
    }
}

/// A stretch of a session, some of it changed.
pub fn garbage(random: &mut Random, captures: &[Vec<&[u8]>]) -> Vec<u8> {
    let all = &captures[random.below(captures.len())];
    let mut bytes = all[..2].concat();
    let start = random.below(all.len());
    for message in all[start..].iter().take(100) {
        let mut message = message.to_vec();
        if random.below(3) == 0 {
            mutate(random, &mut message);
        }
        bytes.extend(message);
    }
    bytes
}

/// What one connection sends: such a stretch, often cut off somewhere, or bytes from nowhere.
pub fn connection(random: &mut Random, captures: &[Vec<&[u8]>]) -> Vec<u8> {
    let mut bytes = match random.below(10) {
        0 => (0..random.below(10_000)).map(|_| random.byte()).collect(),
        _ => garbage(random, captures),
    };
    bytes.truncate(1 + random.below(bytes.len() + bytes.len() / 4 + 1));
    bytes
}
