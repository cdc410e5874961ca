use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt};

/// Who a proxy says it speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// Itself, as in a health check, or somebody it cannot name: the other end of the connection stands.
    Itself,
    /// A client of IP.
    Client(SocketAddr),
    /// A client of a Unix socket of the proxy, which has no address.
    Unix,
}

/// What does not begin with a header that can be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Begins a header of version 2; no protocol of text begins so.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The longest that follows the 16 bytes of version 2: addresses of Unix sockets take 216, the rest is for extensions,
/// of which a certificate of the client is the largest.
const MOST: usize = 4 << 10;

/// The longest line of version 1, with its end.
const LONGEST_LINE: usize = 107;

/// Reads the header that a proxy puts before the bytes of a connection, and not a byte more; `None` if the proxy closes
/// before the first one, as one that only looks whether the port is open.
///
/// # Cancel safety
///
/// Dropping it loses the bytes read so far: the caller closes the connection then.
pub(crate) async fn read_header(
    io: &mut (impl AsyncRead + Unpin),
) -> io::Result<Option<Result<Source, Malformed>>> {
    let mut head = [0; 16];
    let first = io.read(&mut head[..12]).await?;
    if first == 0 {
        return Ok(None);
    }
    io.read_exact(&mut head[first..12]).await?;
    if head.starts_with(SIGNATURE) {
        io.read_exact(&mut head[12..]).await?;
        let length = usize::from(u16::from_be_bytes([head[14], head[15]]));
        if length > MOST {
            return Ok(Some(Err(Malformed)));
        }
        let mut header = head.to_vec();
        header.resize(16 + length, 0);
        io.read_exact(&mut header[16..]).await?;
        return Ok(Some(parse_v2(&header)));
    }
    if !head.starts_with(b"PROXY ") {
        return Ok(Some(Err(Malformed)));
    }
    let mut line = head[..12].to_vec();
    while !line.ends_with(b"\r\n") {
        if line.len() >= LONGEST_LINE {
            return Ok(Some(Err(Malformed)));
        }
        // As many as must still come: what follows the line is not ours to read.
        let missing = if line.ends_with(b"\r") { 1 } else { 2 };
        let end = line.len();
        line.resize(end + missing, 0);
        io.read_exact(&mut line[end..]).await?;
    }
    Ok(Some(parse_v1(&line)))
}

/// Parses a whole header of version 2.
fn parse_v2(header: &[u8]) -> Result<Source, Malformed> {
    let (&[.., command, family, _, _], body) = header.split_first_chunk::<16>().ok_or(Malformed)?;
    // The high half is the version, and no other has this signature.
    match command {
        0x20 => return Ok(Source::Itself), // whatever stands in the rest is to be skipped
        0x21 => {}
        _ => return Err(Malformed),
    }
    let (source, extensions) = match family {
        // Unspecified: the protocol is one that the proxy cannot name.
        0x00 => (Source::Itself, body),
        0x11 => {
            let (addresses, rest) = body.split_first_chunk::<12>().ok_or(Malformed)?;
            let (ip, _) = addresses.split_first_chunk::<4>().ok_or(Malformed)?;
            let port = [addresses[8], addresses[9]];
            (client(Ipv4Addr::from(*ip).into(), port), rest)
        }
        0x21 => {
            let (addresses, rest) = body.split_first_chunk::<36>().ok_or(Malformed)?;
            let (ip, _) = addresses.split_first_chunk::<16>().ok_or(Malformed)?;
            let port = [addresses[32], addresses[33]];
            (client(Ipv6Addr::from(*ip).into(), port), rest)
        }
        0x31 => (Source::Unix, body.get(216..).ok_or(Malformed)?),
        _ => return Err(Malformed), // datagrams are nothing that a stream is made of
    };
    check_extensions(header, extensions)?;
    Ok(source)
}

fn client(ip: IpAddr, port: [u8; 2]) -> Source {
    Source::Client(SocketAddr::new(ip.to_canonical(), u16::from_be_bytes(port)))
}

/// The type of the extension with the checksum of the header.
const CRC32C: u8 = 0x03;

/// Walks over the extensions, which must fill the header, and compares the checksum if there is one.
fn check_extensions(header: &[u8], mut extensions: &[u8]) -> Result<(), Malformed> {
    while let Some((&[kind, high, low], rest)) = extensions.split_first_chunk::<3>() {
        let length = usize::from(u16::from_be_bytes([high, low]));
        let (value, after) = rest.split_at_checked(length).ok_or(Malformed)?;
        if kind == CRC32C {
            let said: [u8; 4] = value.try_into().map_err(|_| Malformed)?;
            let at = header.len() - rest.len();
            // It is taken of the header with zeros where it stands.
            let (before, behind) = (&header[..at], &header[at + 4..]);
            if crc32c(before.iter().chain(&[0; 4]).chain(behind)) != u32::from_be_bytes(said) {
                return Err(Malformed);
            }
        }
        extensions = after;
    }
    if extensions.is_empty() {
        Ok(())
    } else {
        Err(Malformed)
    }
}

/// The checksum of RFC 9260, appendix A; a bit at a time, as headers are short and rare.
fn crc32c<'a>(bytes: impl Iterator<Item = &'a u8>) -> u32 {
    let folded = bytes.fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            if sum & 1 == 1 {
                sum >> 1 ^ 0x82F6_3B78
            } else {
                sum >> 1
            }
        })
    });
    !folded
}

/// Parses a line of version 1, with its end.
fn parse_v1(line: &[u8]) -> Result<Source, Malformed> {
    let line = line.strip_suffix(b"\r\n").ok_or(Malformed)?;
    let line = std::str::from_utf8(line).map_err(|_| Malformed)?;
    let mut words = line.split(' ');
    let (proxy, family) = (words.next(), words.next());
    if proxy != Some("PROXY") {
        return Err(Malformed);
    }
    let ip = |text: Option<&str>| -> Result<IpAddr, Malformed> {
        let text = text.ok_or(Malformed)?;
        match family {
            Some("TCP4") => text.parse::<Ipv4Addr>().map(IpAddr::from).ok(),
            Some("TCP6") => text
                .parse::<Ipv6Addr>()
                .map(|ip| IpAddr::from(ip).to_canonical())
                .ok(),
            _ => None,
        }
        .ok_or(Malformed)
    };
    let port = |text: Option<&str>| -> Result<u16, Malformed> {
        let text = text.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        text.and_then(|text| text.parse().ok()).ok_or(Malformed)
    };
    if family == Some("UNKNOWN") {
        return Ok(Source::Itself); // whatever follows is to be ignored
    }
    let (source, _) = (ip(words.next())?, ip(words.next())?);
    let (from, _) = (port(words.next())?, port(words.next())?);
    match words.next() {
        None => Ok(Source::Client(SocketAddr::new(source, from))),
        Some(_) => Err(Malformed),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8]) -> (Option<Result<Source, Malformed>>, Vec<u8>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        let mut left = bytes;
        let found = runtime.block_on(read_header(&mut left));
        // A header that ends too early is as good as none.
        (found.unwrap_or(Some(Err(Malformed))), left.to_vec())
    }

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).expect("it is short");
        [&SIGNATURE[..], &[command, family], &length.to_be_bytes(), body].concat()
    }

    fn v4(port: u16) -> Vec<u8> {
        let ports = [port.to_be_bytes(), 443_u16.to_be_bytes()].concat();
        [&[192, 0, 2, 7, 10, 0, 0, 1][..], &ports].concat()
    }

    fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(value.len()).expect("it is short");
        [&[kind], &length.to_be_bytes()[..], value].concat()
    }

    #[test]
    fn every_kind_of_version_2_is_read_and_nothing_after_it() {
        let source = "192.0.2.7:50000".parse().unwrap();
        let source6 = "[2001:db8::7]:50000".parse().unwrap();
        let ip: Ipv6Addr = "2001:db8::7".parse().unwrap();
        let v6 = [&ip.octets()[..], &[0; 16], &50000_u16.to_be_bytes(), &[0; 2]].concat();
        let mapped: Ipv6Addr = "::ffff:192.0.2.7".parse().unwrap();
        let mapped = [&mapped.octets()[..], &[0; 16], &50000_u16.to_be_bytes(), &[0; 2]].concat();
        let extended = [
            &v4(50000)[..],
            &tlv(0x01, b"h2"),
            &tlv(0x20, &[0; 40]),
            &tlv(0x04, &[]),
        ]
        .concat();
        for (header, found) in [
            (v2(0x21, 0x11, &v4(50000)), Source::Client(source)),
            (v2(0x21, 0x11, &extended), Source::Client(source)),
            (v2(0x21, 0x21, &v6), Source::Client(source6)),
            (v2(0x21, 0x21, &mapped), Source::Client(source)),
            (v2(0x21, 0x31, &[0; 216]), Source::Unix),
            (v2(0x21, 0x00, &[]), Source::Itself),
            (v2(0x21, 0x00, &tlv(0x04, &[0; 9])), Source::Itself),
            (v2(0x20, 0x00, &[]), Source::Itself),
            (v2(0x20, 0x11, &v4(50000)), Source::Itself),
            (v2(0x20, 0x11, &[1]), Source::Itself),
            (v2(0x20, 0x12, &[1, 2, 3]), Source::Itself),
        ] {
            let sent = [&header[..], b"GET / HTTP/1.1"].concat();
            assert_eq!(
                read(&sent),
                (Some(Ok(found)), b"GET / HTTP/1.1".to_vec()),
                "{header:?}"
            );
        }
        assert_eq!(read(b"").0, None);
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let v4 = v4(1);
        let too_long = [&v4[..], &tlv(0x04, &vec![0; MOST])].concat();
        let overrun = [&v4[..], &[0x04, 0, 9, 0]].concat();
        let crumbs = [&v4[..], &[0x04, 0]].concat();
        for header in [
            v2(0x22, 0x11, &v4), // no such command
            v2(0x11, 0x11, &v4), // version 1 has no such form
            v2(0x21, 0x12, &v4), // datagrams
            v2(0x21, 0x41, &v4), // no such family
            v2(0x21, 0x11, &v4[..11]),
            v2(0x21, 0x21, &v4),
            v2(0x21, 0x31, &v4),
            v2(0x21, 0x11, &too_long),
            v2(0x21, 0x11, &overrun),
            v2(0x21, 0x11, &crumbs),
            v2(0x21, 0x11, &v4)[..20].to_vec(), // ends in the midst
            b"GET / HTTP/1.1\r\nhost: a\r\n\r\n".to_vec(),
            b"\r\n".to_vec(),
        ] {
            assert_eq!(read(&header).0, Some(Err(Malformed)), "{header:?}");
        }
    }

    #[test]
    fn a_checksum_is_compared() {
        assert_eq!(crc32c(b"123456789".iter()), 0xE306_9283); // the check value of the polynomial
        let before = [&v4(7)[..], &tlv(0x04, &[1, 2])].concat();
        let sealed = |sum: u32| {
            let body = [&before[..], &tlv(CRC32C, &sum.to_be_bytes()), &tlv(0x01, b"h2")].concat();
            v2(0x21, 0x11, &body)
        };
        let sum = crc32c(sealed(0).iter());
        assert!(matches!(read(&sealed(sum)).0, Some(Ok(Source::Client(_)))));
        assert_eq!(read(&sealed(sum ^ 1)).0, Some(Err(Malformed)));
        let short = [&v4(7)[..], &tlv(CRC32C, &[0; 3])].concat();
        assert_eq!(read(&v2(0x21, 0x11, &short)).0, Some(Err(Malformed)));
    }

    #[test]
    fn version_1_is_read_and_nothing_after_it() {
        let source = |text: &str| Ok(Source::Client(text.parse().expect("an address")));
        for (line, found) in [
            (
                "PROXY TCP4 192.0.2.7 10.0.0.1 50000 443",
                source("192.0.2.7:50000"),
            ),
            (
                "PROXY TCP6 2001:db8::7 ::1 50000 443",
                source("[2001:db8::7]:50000"),
            ),
            ("PROXY UNKNOWN", Ok(Source::Itself)),
            ("PROXY UNKNOWN ffff::1 ffff::2 1 2", Ok(Source::Itself)),
            ("PROXY TCP4 2001:db8::7 ::1 50000 443", Err(Malformed)),
            ("PROXY TCP6 192.0.2.7 10.0.0.1 50000 443", Err(Malformed)),
            ("PROXY TCP4 192.0.2.7 10.0.0.1 50000", Err(Malformed)),
            ("PROXY TCP4 192.0.2.7 10.0.0.1 +5000 443", Err(Malformed)),
            ("PROXY TCP4 192.0.2.7 10.0.0.1 66000 443", Err(Malformed)),
            ("PROXY TCP4 192.0.2.7 10.0.0.1 5000 443 7", Err(Malformed)),
            ("PROXY TCP4  192.0.2.7 10.0.0.1 5000 443", Err(Malformed)),
            ("PROXY UDP4 192.0.2.7 10.0.0.1 5000 443", Err(Malformed)),
        ] {
            let sent = format!("{line}\r\nGET /");
            assert_eq!(read(sent.as_bytes()), (Some(found), b"GET /".to_vec()), "{line}");
        }
        let endless = format!("PROXY UNKNOWN {}\r\n", "a".repeat(200));
        assert_eq!(read(endless.as_bytes()).0, Some(Err(Malformed)));
    }

    proptest! {
        #[test]
        fn nothing_that_is_sent_panics_or_reads_without_end(bytes: Vec<u8>, signed: bool) {
            let start: &[u8] = if signed { SIGNATURE } else { b"" };
            let sent = [start, &bytes].concat();
            let (_, left) = read(&sent);
            prop_assert!(sent.len() - left.len() <= 16 + MOST);
        }

        #[test]
        fn a_body_of_any_bytes_is_judged_alike_every_time(command in 0x20_u8..0x22, family: u8, body: Vec<u8>) {
            let header = v2(command, family, &body);
            let judged = parse_v2(&header);
            prop_assert_eq!(judged, parse_v2(&header));
            if command == 0x20 {
                prop_assert!(matches!(judged, Ok(Source::Itself) | Err(Malformed)));
            }
        }

        #[test]
        fn an_address_comes_back_as_it_was_sent(ip: [u8; 4], port: u16, extension in prop::collection::vec(any::<u8>(), 0..100)) {
            let body = [&ip[..], &[10, 0, 0, 1], &port.to_be_bytes(), &[0, 80], &tlv(0xE0, &extension)].concat();
            let expected = SocketAddr::new(Ipv4Addr::from(ip).into(), port);
            prop_assert_eq!(parse_v2(&v2(0x21, 0x11, &body)), Ok(Source::Client(expected)));
        }
    }
}
