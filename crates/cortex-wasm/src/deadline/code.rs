//! The few instructions that are put into a guest's code, in bytes.

const BLOCK: u8 = 0x02;
const LOOP: u8 = 0x03;
const IF: u8 = 0x04;
const END: u8 = 0x0b;
const BR: u8 = 0x0c;
const EMPTY: u8 = 0x40;

/// Code that is being written.
#[derive(Debug, Default)]
pub(super) struct Code {
    pub(super) bytes: Vec<u8>,
}

impl Code {
    /// Takes over what stands in the guest's code.
    pub(super) fn copy(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn unreachable(&mut self) {
        self.bytes.push(0x00);
    }

    /// Opens a block that results in what `kind` says: [`Code::EMPTY`], or the byte of a type.
    pub(super) fn block(&mut self, kind: u8) {
        self.bytes.extend([BLOCK, kind]);
    }

    pub(super) const EMPTY: u8 = EMPTY;

    pub(super) fn open_loop(&mut self) {
        self.bytes.extend([LOOP, EMPTY]);
    }

    pub(super) fn open_if(&mut self) {
        self.bytes.extend([IF, EMPTY]);
    }

    pub(super) fn end(&mut self) {
        self.bytes.push(END);
    }

    pub(super) fn br(&mut self, depth: u32) {
        self.bytes.push(BR);
        unsigned(&mut self.bytes, depth.into());
    }

    pub(super) fn local_get(&mut self, index: u32) {
        self.indexed(0x20, index);
    }

    pub(super) fn local_set(&mut self, index: u32) {
        self.indexed(0x21, index);
    }

    pub(super) fn local_tee(&mut self, index: u32) {
        self.indexed(0x22, index);
    }

    pub(super) fn global_get(&mut self, index: u32) {
        self.indexed(0x23, index);
    }

    pub(super) fn global_set(&mut self, index: u32) {
        self.indexed(0x24, index);
    }

    pub(super) fn i64_const(&mut self, value: i64) {
        self.bytes.push(0x42);
        signed(&mut self.bytes, value);
    }

    pub(super) fn i64_eq(&mut self) {
        self.bytes.push(0x51);
    }

    pub(super) fn i64_ne(&mut self) {
        self.bytes.push(0x52);
    }

    pub(super) fn i64_lt_s(&mut self) {
        self.bytes.push(0x53);
    }

    pub(super) fn i64_add(&mut self) {
        self.bytes.push(0x7c);
    }

    pub(super) fn i64_sub(&mut self) {
        self.bytes.push(0x7d);
    }

    pub(super) fn i64_shr_u(&mut self) {
        self.bytes.push(0x88);
    }

    pub(super) fn i64_extend_i32_u(&mut self) {
        self.bytes.push(0xad);
    }

    fn indexed(&mut self, code: u8, index: u32) {
        self.bytes.push(code);
        unsigned(&mut self.bytes, index.into());
    }
}

/// Writes a number in the format's variable length (LEB128).
pub(super) fn unsigned(to: &mut Vec<u8>, mut value: u64) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            to.push(low & 0x7f);
            return;
        }
        to.push(low | 0x80);
    }
}

fn signed(to: &mut Vec<u8>, mut value: i64) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        let is_last = (value == 0 && low & 0x40 == 0) || (value == -1 && low & 0x40 != 0);
        if is_last {
            to.push(low & 0x7f);
            return;
        }
        to.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmer::sys::wasmparser::BinaryReader;

    #[test]
    fn numbers_are_read_back() {
        for shift in 0..64 {
            for value in [1_u64 << shift, (1 << shift) - 1, u64::MAX >> shift] {
                let mut bytes = Vec::new();
                unsigned(&mut bytes, value);
                let mut reader = BinaryReader::new(&bytes, 0);
                assert_eq!(reader.read_var_u64().unwrap(), value);
                assert!(reader.eof());
                for value in [value.cast_signed(), value.wrapping_neg().cast_signed()] {
                    let mut bytes = Vec::new();
                    signed(&mut bytes, value);
                    let mut reader = BinaryReader::new(&bytes, 0);
                    assert_eq!(reader.read_var_i64().unwrap(), value);
                    assert!(reader.eof());
                }
            }
        }
    }
}
