use brotli::enc::BrotliEncoderParams;
use libdeflater::CompressionLvl;
use std::io::Write;
use zlib_rs::{Deflate, DeflateConfig, DeflateFlush, Status};
use zstd_safe::zstd_sys::ZSTD_EndDirective;
use zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer, ResetDirective};

/// The codecs alone, set as ours are by default, with a state and a buffer that are used again wherever that can be.
pub(crate) struct Raw {
    codec: Codec,
    out: Vec<u8>,
}

enum Codec {
    /// gzip of what is there as a whole.
    Libdeflate(libdeflater::Compressor),
    /// gzip of streams.
    Zlib(Box<Deflate>),
    Zstd {
        context: CCtx<'static>,
        streams: bool,
    },
    Brotli(BrotliEncoderParams),
}

impl Raw {
    /// For a body of `size` bytes that is there as a whole.
    pub(crate) fn whole(coding: &str, size: usize) -> Self {
        let codec = match coding {
            "gzip" => {
                let level = CompressionLvl::new(1).expect("a level of libdeflate");
                Codec::Libdeflate(libdeflater::Compressor::new(level))
            }
            "zstd" => Codec::Zstd {
                context: context(1),
                streams: false,
            },
            _ => Codec::Brotli(brotli_params(18, size)),
        };
        let out = vec![0; 2 * size + 1024];
        Self { codec, out }
    }

    /// zstd at a level, for a body of `size` bytes that is there as a whole.
    pub(crate) fn zstd(level: u8, size: usize) -> Self {
        let codec = Codec::Zstd {
            context: context(level),
            streams: false,
        };
        let out = vec![0; 2 * size + 1024];
        Self { codec, out }
    }

    /// For a body of unknown length.
    pub(crate) fn stream(coding: &str) -> Self {
        let codec = match coding {
            "gzip" => Codec::Zlib(Box::new(Deflate::new_with_config(DeflateConfig {
                level: 4,
                window_bits: 15 + 16, // with the wrapper of gzip
                mem_level: 8,
                ..DeflateConfig::default()
            }))),
            "zstd" => {
                let mut context = context(1);
                set(&mut context, CParameter::WindowLog(16));
                Codec::Zstd {
                    context,
                    streams: true,
                }
            }
            _ => Codec::Brotli(brotli_params(16, 0)),
        };
        let out = vec![0; 32 << 10];
        Self { codec, out }
    }

    /// Encodes the frames of a body and returns the length.
    pub(crate) fn encode(&mut self, frames: &[&[u8]]) -> usize {
        let out = &mut self.out;
        match &mut self.codec {
            Codec::Libdeflate(compressor) => compressor.gzip_compress(frames[0], out).expect("there is room"),
            Codec::Zlib(state) => {
                state.reset();
                for frame in frames {
                    let mut left = *frame;
                    while !left.is_empty() {
                        let read = state.total_in();
                        deflate(state, left, out, DeflateFlush::NoFlush);
                        left = &left[count(state.total_in() - read)..];
                    }
                }
                while deflate(state, &[], out, DeflateFlush::Finish) != Status::StreamEnd {}
                count(state.total_out())
            }
            Codec::Zstd {
                context,
                streams: false,
            } => context.compress2(out, frames[0]).expect("there is room"),
            Codec::Zstd { context, .. } => {
                context.reset(ResetDirective::SessionOnly).expect("a session");
                let mut length = 0;
                for frame in frames {
                    let mut input = InBuffer::around(frame);
                    while input.pos() < frame.len() {
                        length += stream(context, out, &mut input, ZSTD_EndDirective::ZSTD_e_continue).0;
                    }
                }
                loop {
                    let mut input = InBuffer::around(&[]);
                    let (written, left) = stream(context, out, &mut input, ZSTD_EndDirective::ZSTD_e_end);
                    length += written;
                    if left == 0 {
                        return length;
                    }
                }
            }
            Codec::Brotli(params) => {
                let mut writer =
                    brotli::CompressorWriter::with_params(Count(0), out.len().min(32 << 10), params);
                for frame in frames {
                    writer.write_all(frame).expect("a count takes everything");
                }
                writer.into_inner().0
            }
        }
    }
}

fn deflate(state: &mut Deflate, input: &[u8], out: &mut [u8], flush: DeflateFlush) -> Status {
    state.compress(input, out, flush).expect("a valid state")
}

fn stream(
    context: &mut CCtx<'_>,
    out: &mut [u8],
    input: &mut InBuffer<'_>,
    end: ZSTD_EndDirective,
) -> (usize, usize) {
    let mut sink = OutBuffer::around(out);
    let left = context
        .compress_stream2(&mut sink, input, end)
        .expect("a valid state");
    (sink.pos(), left)
}

fn context(level: u8) -> CCtx<'static> {
    let mut context = CCtx::create();
    set(&mut context, CParameter::CompressionLevel(level.into()));
    context
}

fn set(context: &mut CCtx<'_>, parameter: CParameter) {
    context.set_parameter(parameter).expect("a valid parameter");
}

fn brotli_params(window_log: i32, size: usize) -> BrotliEncoderParams {
    BrotliEncoderParams {
        quality: 4,
        lgwin: window_log,
        size_hint: size,
        ..BrotliEncoderParams::default()
    }
}

fn count(bytes: u64) -> usize {
    usize::try_from(bytes).expect("the length of a body in memory")
}

/// Counts what is written, and keeps nothing.
struct Count(usize);

impl Write for Count {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
