//! LZ4 blocks and BLAKE3 over one staging area in wasm memory. The host writes input to the front
//! of it, calls, and reads output from behind the input: no call allocates, but for the area itself
//! when it has to grow.

use lz4_flex::block::{self, CompressTable, DecompressError};
use wasm_bindgen::prelude::*;

/// Inputs shorter than this are matched by 16-bit positions, which is quicker.
const SMALL_INPUT: usize = u16::MAX as usize;
const DIGEST_LENGTH: usize = blake3::OUT_LEN;

#[wasm_bindgen]
pub struct Stage {
    area: Vec<u8>,
    hasher: blake3::Hasher,
    digest: [u8; DIGEST_LENGTH],
    small: CompressTable,
    large: CompressTable,
}

#[wasm_bindgen]
impl Stage {
    #[wasm_bindgen(constructor)]
    #[allow(clippy::new_without_default)]
    pub fn new() -> Stage {
        Stage {
            area: Vec::new(),
            hasher: blake3::Hasher::new(),
            digest: [0; DIGEST_LENGTH],
            small: CompressTable::small(),
            large: CompressTable::large(),
        }
    }

    /// Where the staging area begins, after making it at least `length` bytes long. Growing loses
    /// what was in it, and may detach the host's views of the memory.
    pub fn reserve(&mut self, length: usize) -> Result<*mut u8, JsError> {
        if length > self.area.len() {
            self.area = Vec::new();
            self.area.try_reserve_exact(length)?;
            self.area.resize(length, 0);
        }
        Ok(self.area.as_mut_ptr())
    }

    /// The most bytes that `compress` makes of `length` bytes.
    pub fn compressed_bound(length: usize) -> usize {
        block::get_maximum_output_size(length)
    }

    /// Hashes the first `length` bytes staged, after those of the calls before it.
    pub fn update(&mut self, length: usize) {
        self.hasher.update(&self.area[..length]);
    }

    /// Where the 32 bytes of hash are of all updates since the last digest.
    pub fn digest(&mut self) -> *const u8 {
        self.digest = *self.hasher.finalize().as_bytes();
        self.hasher.reset();
        self.digest.as_ptr()
    }

    /// Compresses the first `length` bytes staged to right behind them, where `compressed_bound`
    /// bytes must be reserved; returns the compressed length.
    pub fn compress(&mut self, length: usize) -> Result<usize, JsError> {
        let (input, output) = self.area.split_at_mut(length);
        let table = if length < SMALL_INPUT { &mut self.small } else { &mut self.large };
        Ok(block::compress_into_with_table(input, output, table)?)
    }

    /// Decompresses the first `length` bytes staged to right behind them. Refuses what doesn't make
    /// exactly `raw_length` bytes, which must be reserved.
    pub fn decompress(&mut self, length: usize, raw_length: usize) -> Result<(), JsError> {
        let (input, output) = self.area.split_at_mut(length);
        match block::decompress_into(input, &mut output[..raw_length]) {
            Ok(written) if written == raw_length => Ok(()),
            Ok(written) => Err(JsError::new(&format!("it makes only {written} bytes"))),
            Err(DecompressError::OutputTooSmall { .. }) => Err(JsError::new("it makes more bytes")),
            Err(error) => Err(error.into()),
        }
    }
}
