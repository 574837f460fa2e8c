// SPDX-License-Identifier: AGPL-3.0-only
//! Random frames with the structure of real ones: stacks of headers whose lengths and types mostly agree.

/// xorshift64
pub struct Random(pub u64);

impl Random {
    pub fn seed() -> u64 {
        let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        time.expect("after 1970").as_nanos() as u64 | 1
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() >> 11) as usize % n
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len())]
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }
}

/// A header and all that follows it, and the EtherType that names it.
type Inner = (u16, Vec<u8>);

/// At least 14 bytes.
pub fn frame(random: &mut Random) -> Vec<u8> {
    let (kind, inner) = stack(random);
    let mut frame = random.bytes(12);
    frame.extend(kind.to_be_bytes());
    frame.extend(inner);
    if random.one_in(3) {
        let more = random.pick(&[1, 3, 6, 8, 9, 20, 46, 200]);
        let padding = if random.one_in(2) {
            vec![0; more]
        } else {
            random.bytes(more)
        };
        frame.extend(padding);
    }
    if random.one_in(5) {
        let length = 14 + random.below(frame.len() - 13);
        frame.truncate(length);
    }
    if random.one_in(5) {
        for _ in 0..1 + random.below(3) {
            let at = random.below(frame.len().min(120));
            frame[at] = random.pick(&[0, 1, 4, 0x21, 0x45, 0x60, 0x80, 0xff]);
        }
    }
    if random.one_in(10) {
        let at = random.below(frame.len());
        frame[at] = random.next() as u8;
    }
    frame
}

fn stack(random: &mut Random) -> Inner {
    let inner = network(random);
    match random.below(10) {
        0..=3 => inner,
        4 | 5 => {
            let count = 1 + random.below(4);
            tags(random, count, inner)
        }
        6 => {
            let inner = labels(random, inner);
            few_tags(random, inner)
        }
        7 => {
            let inner = session(random, inner);
            few_tags(random, inner)
        }
        8 => {
            let labels = labels(random, inner);
            let inner = session(random, labels);
            few_tags(random, inner)
        }
        _ => {
            let inner = match random.below(4) {
                0 => labels(random, inner),
                1 => session(random, inner),
                _ => inner,
            };
            let count = random.pick(&[5, 31, 33, 34, 35, 66, 67, 130, 300]);
            tags(random, count, inner)
        }
    }
}

fn few_tags(random: &mut Random, inner: Inner) -> Inner {
    let count = random.pick(&[0, 0, 0, 1, 2, 3]);
    tags(random, count, inner)
}

fn tags(random: &mut Random, count: usize, inner: Inner) -> Inner {
    (0..count).fold(inner, |(kind, bytes), _| {
        let id = random.pick(&[0, 0, 0xe000, 10, 0xffff]);
        let tpid = random.pick(&[0x8100, 0x8100, 0x88a8]);
        (
            tpid,
            [&u16::to_be_bytes(id), &kind.to_be_bytes(), &bytes[..]].concat(),
        )
    })
}

/// Labels, and IP or a pseudowire below them.
fn labels(random: &mut Random, (kind, inner): Inner) -> Inner {
    let inner = match random.below(6) {
        0 => {
            let mut address = random.bytes(12);
            address[0] = random.pick(&[0x45, 0x46, 0x4c, 0x60, 0x6e, 0x44]);
            [&address, &kind.to_be_bytes()[..], &inner].concat()
        }
        1 => [
            &[0, 0, 0, 1],
            &random.bytes(12)[..],
            &kind.to_be_bytes(),
            &inner,
        ]
        .concat(),
        _ => inner,
    };
    let count = random.pick(&[1, 2, 3, 4, 5, 6, 32, 33, 70]);
    let mut bytes: Vec<u8> = (0..count)
        .flat_map(|_| {
            let mut label = random.next().to_be_bytes();
            label[2] &= 0xfe;
            label[..4].to_vec()
        })
        .collect();
    bytes[4 * count - 2] |= 1;
    bytes.extend(inner);
    (random.pick(&[0x8847, 0x8848]), bytes)
}

fn session(random: &mut Random, (kind, inner): Inner) -> Inner {
    let protocol: u16 = match kind {
        0x0800 => 0x21,
        0x86dd => 0x57,
        0x8847 => 0x281,
        0x8848 => 0x283,
        _ => 0xc021,
    };
    let protocol = match protocol < 0x100 && random.one_in(3) {
        true => vec![protocol as u8],
        false => protocol.to_be_bytes().to_vec(),
    };
    let length = (protocol.len() + inner.len()) as u16;
    let code = random.pick(&[0, 0, 0, 9, 0xa7]);
    let head = [0x11, code, 0, 7];
    (
        0x8864,
        [&head, &length.to_be_bytes()[..], &protocol, &inner].concat(),
    )
}

fn network(random: &mut Random) -> Inner {
    match random.below(20) {
        0..=9 => (0x0800, ipv4(random)),
        10..=17 => (0x86dd, ipv6(random)),
        18 => (0x0806, random.bytes(28)),
        _ => {
            let length = random.below(80);
            (
                random.pick(&[0x0800, 0x86dd, 0x0026, 0x88cc]),
                random.bytes(length),
            )
        }
    }
}

fn transport(random: &mut Random) -> (u8, Vec<u8>) {
    let protocol = random.pick(&[
        6, 6, 17, 17, 17, 1, 58, 58, 132, 33, 136, 50, 4, 41, 47, 59, 255,
    ]);
    let length = random.pick(&[0, 3, 4, 7, 8, 11, 12, 19, 20, 32, 60, 300]);
    let mut bytes = random.bytes(length);
    for at in [0, 2] {
        if bytes.len() >= 4 && random.one_in(2) {
            let port: u16 = random.pick(&[53, 53, 22, 0x8700, 0x8500, 0x8800]);
            bytes[at..at + 2].copy_from_slice(&port.to_be_bytes());
        }
    }
    (protocol, bytes)
}

fn ipv4(random: &mut Random) -> Vec<u8> {
    let (protocol, payload) = transport(random);
    let options = if random.one_in(4) {
        4 * random.below(11)
    } else {
        0
    };
    let header = 20 + options;
    let exact = header + payload.len();
    let total = match random.below(6) {
        0 => random.pick(&[
            0,
            1,
            10,
            19,
            20,
            header - 1,
            header,
            header + 5,
            exact - 1,
            exact + 9,
        ]),
        _ => exact,
    };
    let fragment: u16 = random.pick(&[0, 0, 0, 0x4000, 0x2000, 1, 0x2005, 0x1fff]);
    let mut packet = vec![0x40 | (header / 4) as u8, random.next() as u8];
    packet.extend((total as u16).to_be_bytes());
    packet.extend([0, 1]);
    packet.extend(fragment.to_be_bytes());
    packet.extend([random.pick(&[1, 64, 255]), protocol, 0, 0]);
    packet.extend(random.bytes(8 + options));
    let sum: u32 = packet
        .chunks_exact(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]))
        .sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend(payload);
    packet
}

fn ipv6(random: &mut Random) -> Vec<u8> {
    let (mut next, mut payload) = transport(random);
    let count = random.pick(&[0, 0, 0, 1, 1, 2, 3, 5, 6, 7, 9]);
    for _ in 0..count {
        let kind = random.pick(&[0, 43, 44, 51, 60, 60]);
        let units: usize = random.pick(&[0, 0, 1, 2, 4]);
        let length = match kind {
            44 => 8,
            51 => (units + 2) * 4,
            _ => (units + 1) * 8,
        };
        let mut header = random.bytes(length);
        (header[0], header[1]) = (next, units as u8);
        if kind == 44 {
            let fragment: u16 = random.pick(&[0, 0, 1, 8, 0xfff9, 6]);
            header[2..4].copy_from_slice(&fragment.to_be_bytes());
        }
        next = kind;
        payload = [header, payload].concat();
    }
    let exact = payload.len();
    let length = match random.below(6) {
        0 => random.pick(&[0, 0, 1, 4, 8, exact / 2, exact + 1, exact + 40]),
        _ => exact,
    };
    let mut packet = random.bytes(40);
    packet[0] = 0x60 | packet[0] & 15;
    packet[4..6].copy_from_slice(&(length as u16).to_be_bytes());
    (packet[6], packet[7]) = (next, random.pick(&[1, 64, 255]));
    for at in [8, 24] {
        match random.below(8) {
            0 => packet[at..at + 2].copy_from_slice(&[0xfe, 0x80]),
            1 => packet[at..at + 2].copy_from_slice(&[0xff, 2]),
            _ => {}
        }
    }
    packet.extend(payload);
    packet
}
