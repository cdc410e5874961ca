use super::config::{Entries, Wasi};
use super::errno::{self, BADF, INVAL, SPIPE, SUCCESS};
use super::output::{Stream, Streams};
use super::poll::poll;
use crate::error::Error;
use crate::imports::{HostCx, HostError, Imports};
use std::sync::Arc;
use std::time::Duration;

const PREVIEW1: &str = "wasi_snapshot_preview1";

/// So many buffers a guest reads or writes at once, at most; POSIX has as many.
const MOST_VECTORS: u32 = 1024;

/// So many random bytes a guest is given at once, at most; browsers give as many.
const MOST_RANDOM: u32 = 1 << 16;

/// A file that is read or written as a terminal is, with the right to do either.
const CHARACTER_DEVICE: u64 = 2;
const RIGHT_TO_READ: u64 = 1 << 1;
const RIGHT_TO_WRITE: u64 = 1 << 6;

/// Provides functions that do nothing but say that they don't.
macro_rules! without {
    ($imports:expr; $($name:ident($($parameter:ty),*);)*) => {
        $imports$(.function(PREVIEW1, stringify!($name), |_: &mut HostCx<'_>, $(_: $parameter),*| -> Errno {
            Ok(errno::NOSYS)
        }))*
    };
}

type Errno = Result<u32, HostError>;

impl Imports {
    /// Provides `wasi_snapshot_preview1`, as far as there is a [`Wasi`].
    pub fn wasi(self, wasi: Wasi) -> Self {
        let wasi = Arc::new(wasi);
        let streams = Arc::clone(&wasi);
        self.data(move || streams.streams())
            .told(&wasi)
            .timed(&wasi)
            .printing()
            .without_files()
    }

    /// Arguments and variables; random bytes; the end.
    fn told(self, wasi: &Arc<Wasi>) -> Self {
        let of = |entries: fn(&Wasi) -> &Entries| (Arc::clone(wasi), entries);
        let sizes = |(wasi, entries): (Arc<Wasi>, fn(&Wasi) -> &Entries)| {
            move |cx: &mut HostCx<'_>, count: u32, bytes: u32| -> Errno {
                write_sizes(cx, entries(&wasi), count, bytes)
            }
        };
        let get = |(wasi, entries): (Arc<Wasi>, fn(&Wasi) -> &Entries)| {
            move |cx: &mut HostCx<'_>, pointers: u32, bytes: u32| -> Errno {
                write_entries(cx, entries(&wasi), pointers, bytes)
            }
        };
        let random = Arc::clone(wasi);
        self.function(PREVIEW1, "args_sizes_get", sizes(of(|wasi| &wasi.args)))
            .function(PREVIEW1, "args_get", get(of(|wasi| &wasi.args)))
            .function(PREVIEW1, "environ_sizes_get", sizes(of(|wasi| &wasi.environ)))
            .function(PREVIEW1, "environ_get", get(of(|wasi| &wasi.environ)))
            .function(
                PREVIEW1,
                "random_get",
                move |cx: &mut HostCx<'_>, pointer: u32, length: u32| -> Errno {
                    if length > MOST_RANDOM {
                        return Ok(INVAL);
                    }
                    let filled = random.fill(cx.bytes_mut(pointer, length)?);
                    Ok(filled.map_or(errno::IO, |()| SUCCESS))
                },
            )
            .function(
                PREVIEW1,
                "proc_exit",
                |_: &mut HostCx<'_>, code: u32| -> Result<(), HostError> {
                    Err(Error::Exited { code }.into())
                },
            )
    }

    fn timed(self, wasi: &Arc<Wasi>) -> Self {
        let (time, known, polled) = (Arc::clone(wasi), Arc::clone(wasi), Arc::clone(wasi));
        self.function(
            PREVIEW1,
            "clock_time_get",
            move |cx: &mut HostCx<'_>, clock: u32, _: u64, into: u32| -> Errno {
                write_time(cx, time.time(clock), into)
            },
        )
        .function(
            PREVIEW1,
            "clock_res_get",
            move |cx: &mut HostCx<'_>, clock: u32, into: u32| -> Errno {
                write_time(cx, known.time(clock).map(|_| Duration::from_nanos(1)), into)
            },
        )
        .function(
            PREVIEW1,
            "poll_oneoff",
            move |cx: &mut HostCx<'_>, subscriptions: u32, events: u32, count: u32, into: u32| -> Errno {
                Ok(poll(cx, &polled, subscriptions, events, count, into)?)
            },
        )
        .function(PREVIEW1, "sched_yield", |_: &mut HostCx<'_>| -> Errno {
            std::thread::yield_now();
            Ok(SUCCESS)
        })
    }

    /// What can be done with the three files that are open.
    fn printing(self) -> Self {
        self.function(
            PREVIEW1,
            "fd_write",
            |cx: &mut HostCx<'_>, fd: u32, vectors: u32, count: u32, into: u32| -> Errno {
                let stream = match fd {
                    1 => Stream::Stdout,
                    2 => Stream::Stderr,
                    _ => return Ok(BADF),
                };
                if !cx.is_open(fd) {
                    return Ok(BADF);
                }
                print(cx, stream, vectors, count, into)
            },
        )
        .function(
            PREVIEW1,
            "fd_read",
            |cx: &mut HostCx<'_>, fd: u32, _: u32, _: u32, into: u32| -> Errno {
                if fd != 0 || !cx.is_open(fd) {
                    return Ok(BADF);
                }
                cx.write(into, 0_u32)?; // there is nothing to read, and it has ended
                Ok(SUCCESS)
            },
        )
        .function(PREVIEW1, "fd_close", |cx: &mut HostCx<'_>, fd: u32| -> Errno {
            if !cx.is_open(fd) {
                return Ok(BADF);
            }
            cx.data::<Streams>()?.close(fd);
            Ok(SUCCESS)
        })
        .function(
            PREVIEW1,
            "fd_seek",
            |cx: &mut HostCx<'_>, fd: u32, _: i64, _: u32, _: u32| -> Errno {
                Ok(if cx.is_open(fd) { SPIPE } else { BADF })
            },
        )
        .function(
            PREVIEW1,
            "fd_fdstat_get",
            |cx: &mut HostCx<'_>, fd: u32, into: u32| -> Errno {
                if !cx.is_open(fd) {
                    return Ok(BADF);
                }
                let rights = if fd == 0 { RIGHT_TO_READ } else { RIGHT_TO_WRITE };
                cx.write(into, [CHARACTER_DEVICE, rights, 0])?;
                Ok(SUCCESS)
            },
        )
        // Guests ask for one after the other, to find which directories they have, until there is none.
        .function(
            PREVIEW1,
            "fd_prestat_get",
            |_: &mut HostCx<'_>, _: u32, _: u32| -> Errno { Ok(BADF) },
        )
    }

    fn without_files(self) -> Self {
        without! { self;
            fd_advise(u32, u64, u64, u32);
            fd_allocate(u32, u64, u64);
            fd_datasync(u32);
            fd_fdstat_set_flags(u32, u32);
            fd_fdstat_set_rights(u32, u64, u64);
            fd_filestat_get(u32, u32);
            fd_filestat_set_size(u32, u64);
            fd_filestat_set_times(u32, u64, u64, u32);
            fd_pread(u32, u32, u32, u64, u32);
            fd_prestat_dir_name(u32, u32, u32);
            fd_pwrite(u32, u32, u32, u64, u32);
            fd_readdir(u32, u32, u32, u64, u32);
            fd_renumber(u32, u32);
            fd_sync(u32);
            fd_tell(u32, u32);
            path_create_directory(u32, u32, u32);
            path_filestat_get(u32, u32, u32, u32, u32);
            path_filestat_set_times(u32, u32, u32, u32, u64, u64, u32);
            path_link(u32, u32, u32, u32, u32, u32, u32);
            path_open(u32, u32, u32, u32, u32, u64, u64, u32, u32);
            path_readlink(u32, u32, u32, u32, u32, u32);
            path_remove_directory(u32, u32, u32);
            path_rename(u32, u32, u32, u32, u32, u32);
            path_symlink(u32, u32, u32, u32, u32);
            path_unlink_file(u32, u32, u32);
            proc_raise(u32);
            sock_accept(u32, u32, u32);
            sock_recv(u32, u32, u32, u32, u32, u32);
            sock_send(u32, u32, u32, u32, u32);
            sock_shutdown(u32, u32);
        }
    }
}

fn write_sizes(cx: &mut HostCx<'_>, entries: &Entries, count: u32, bytes: u32) -> Errno {
    cx.write(count, u32::try_from(entries.lengths.len())?)?;
    cx.write(bytes, u32::try_from(entries.bytes.len())?)?;
    Ok(SUCCESS)
}

fn write_entries(cx: &mut HostCx<'_>, entries: &Entries, pointers: u32, bytes: u32) -> Errno {
    cx.copy_in(bytes, &entries.bytes)?;
    let mut at = bytes; // the bytes are in the memory, so that none of them is beyond what a u32 says
    let places = entries.lengths.iter().map(|length| {
        let place = at;
        at = at.wrapping_add(*length);
        place
    });
    let places: Vec<u32> = places.collect();
    cx.copy_in(pointers, &places)?;
    Ok(SUCCESS)
}

fn write_time(cx: &mut HostCx<'_>, time: Option<Duration>, into: u32) -> Errno {
    let Some(time) = time else { return Ok(INVAL) };
    cx.write(into, u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))?;
    Ok(SUCCESS)
}

fn print(cx: &mut HostCx<'_>, stream: Stream, vectors: u32, count: u32, into: u32) -> Errno {
    if count > MOST_VECTORS {
        return Ok(INVAL);
    }
    let vectors = cx.values::<[u32; 2]>(vectors, count)?;
    let mut total = 0_u32;
    for [pointer, length] in &vectors {
        cx.bytes(*pointer, *length)?;
        let Some(sum) = total.checked_add(*length) else {
            return Ok(INVAL);
        };
        total = sum;
    }
    let mut left = cx.output_some(total.into());
    for [pointer, length] in vectors {
        let part = u64::from(length).min(left);
        left -= part;
        let part = u32::try_from(part)?;
        let (streams, bytes) = cx.streams_and_bytes(pointer, part)?;
        streams.print(stream, bytes, part < length);
    }
    cx.write(into, total)?;
    Ok(SUCCESS)
}
