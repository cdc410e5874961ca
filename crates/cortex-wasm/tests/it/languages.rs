//! The guests of the folder `guests`, made by the compilers that people have: each is known for what it is, works without
//! a leak in its own heap, and is as new after a reset.

use std::sync::{Arc, Mutex, OnceLock};

use cortex_wasm::{
    Abi, Deadline, Error, Imports, Instance, Module, Quota, ResetPlan, Stream, Tag, Wasi, WasmHost,
};

type Transform = cortex_wasm::Func<(u32, u32), u64>;

const REDACT: &[u8] = include_bytes!("../../guests/redact.wasm");
const THUMBNAIL: &[u8] = include_bytes!("../../guests/thumbnail.wasm");
const TOTALS: &[u8] = include_bytes!("../../guests/totals.wasm");
const PASSPHRASE: &[u8] = include_bytes!("../../guests/passphrase.wasm");

const SECRET: &str = "correct horse battery staple";

/// A guest, its function and an input whose answer is known.
struct Case {
    module: Module,
    transform: Transform,
    input: Vec<u8>,
    answer: Vec<u8>,
}

fn cases(host: &WasmHost) -> [Case; 3] {
    let case = |name: &str, wasm: &[u8], input: &[u8], answer: &[u8]| {
        let module = host.compile(name, wasm).expect("the guest is a module");
        Case {
            transform: module.func("transform").expect("it is what guests export"),
            module,
            input: input.into(),
            answer: answer.into(),
        }
    };
    // 128 x 2 pixels: two by two become one.
    let pixels: Vec<u8> = (0..2_u8)
        .flat_map(|y| (0..128_u8).flat_map(move |x| [x, 100 * y, 7]))
        .collect();
    let small: Vec<u8> = (0..64_u8).flat_map(|x| [2 * x + 1, 50, 7]).collect();
    [
        case(
            "redact",
            REDACT,
            b"Ann <ann.lee+x@mail.example.org> paid by 4111 1111 1111 1111, not 4111 1111 1111 1112.",
            b"Ann <[email]> paid by [card], not 4111 1111 1111 1112.",
        ),
        case(
            "thumbnail",
            THUMBNAIL,
            &[b"P6 # by hand\n128 2\n255\n", &pixels[..]].concat(),
            &[b"P6\n64 1\n255\n", &small[..]].concat(),
        ),
        case(
            "totals",
            TOTALS,
            b"who,amount\r\nbob,2.5\r\n\"lee, ann\",-1\r\nbob,0.25\r\n",
            b"name,rows,total\nbob,2,2.75\n\"lee, ann\",1,-1.00\n",
        ),
    ]
}

/// A host that most tests share, with what it has compiled: that takes longer than they do.
fn shared() -> &'static (WasmHost, [Case; 3]) {
    static SHARED: OnceLock<(WasmHost, [Case; 3])> = OnceLock::new();
    SHARED.get_or_init(|| {
        let builder = WasmHost::builder().quota(Quota::new().max_bytes(16 << 20));
        let host = builder
            .deadline(Deadline::Fuel(100_000_000))
            .build()
            .expect("the host can be built");
        let cases = cases(&host);
        (host, cases)
    })
}

/// Has a guest transform bytes, takes its answer over, and copies it.
fn transform(guest: &mut Instance, transform: &Transform, input: &[u8], tag: Tag) -> Result<Vec<u8>, Error> {
    guest.scope(|scope| {
        let input = scope.put_bytes(input)?;
        let answer = scope.call(transform, (input.ptr(), input.len()))?;
        let half = |bits: u64| u32::try_from(bits & u64::from(u32::MAX)).expect("it is 32 bits");
        let (pointer, length) = (half(answer >> 32), half(answer));
        let block = scope.adopt(pointer, length, tag)?;
        Ok(scope.block(block.id())?.to_vec())
    })
}

fn holds(guest: &Instance, text: &str) -> bool {
    let length = u32::try_from(guest.memory_len()).expect("a memory has less than 4 GiB");
    let bytes = guest.bytes(0, length).expect("it is all of the memory");
    // In UTF-16 as well: AssemblyScript's texts are.
    let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let finds = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
    finds(text.as_bytes()) || finds(&wide)
}

#[test]
fn compilers_are_known_by_how_their_guests_lend_the_heap() {
    let (_, cases) = shared();
    let found: Vec<_> = cases
        .iter()
        .map(|case| (case.module.name(), case.module.abi()))
        .collect();
    let dealloc = Abi::AllocDealloc { aligned: false };
    let known = [
        ("redact", Abi::MallocFree),
        ("thumbnail", dealloc),
        ("totals", Abi::AssemblyScript),
    ];
    assert_eq!(found, known);
    for case in cases {
        let plan = case.module.reset_plan();
        assert!(
            matches!(plan, ResetPlan::Restore { image_bytes } if *image_bytes % 65_536 == 0 && *image_bytes > 0),
            "{}: {plan}",
            case.module.name()
        );
    }
}

#[test]
fn guests_work_and_their_heaps_get_back_what_they_lent() {
    let (host, cases) = shared();
    let tag = host.tags().intern("answer").unwrap();
    for case in cases {
        let name = case.module.name();
        let mut guest = host.instantiate(&case.module).unwrap();
        let held = guest.alloc_stats().live;
        let once = |guest: &mut Instance| {
            let answer = transform(guest, &case.transform, &case.input, tag).unwrap();
            assert_eq!(
                answer,
                case.answer,
                "{name}: {}",
                String::from_utf8_lossy(&answer)
            );
        };
        // A collector may let garbage wait for a while.
        (0..100).for_each(|_| once(&mut guest));
        guest.collect().unwrap();
        let length = guest.memory_len();
        (0..1_000).for_each(|_| once(&mut guest));
        guest.collect().unwrap();
        assert_eq!(guest.memory_len(), length, "{name} leaks");
        assert_eq!(guest.alloc_stats().live, held, "{name}");
        assert_eq!(
            guest.alloc_stats().arena_overflows,
            0,
            "{name} got its input through the arena"
        );
    }
}

#[test]
fn inputs_that_are_too_long_for_the_arena_go_through_the_guests_allocator() {
    let (host, cases) = shared();
    let tag = host.tags().intern("answer").unwrap();
    let long = "ann@example.org, ".repeat(10_000);
    let [redact, ..] = cases;
    let mut guest = host.instantiate(&redact.module).unwrap();
    for _ in 0..20 {
        let answer = transform(&mut guest, &redact.transform, long.as_bytes(), tag).unwrap();
        assert_eq!(answer, "[email], ".repeat(10_000).into_bytes());
    }
    assert_eq!(guest.alloc_stats().arena_overflows, 20);
    assert!(guest.memory_len() < 2 << 20, "what overflowed was freed");
}

#[test]
fn what_is_no_input_gets_no_answer() {
    let (host, cases) = shared();
    let tag = host.tags().intern("answer").unwrap();
    let [_, thumbnail, totals] = cases;
    for (case, input) in [
        (thumbnail, &b"P5 1 1 255\n1"[..]),
        (thumbnail, b"P6 4000000000 4000000000 255\nabc"),
        (thumbnail, b"P6 2 2 255\n only 9 by"),
        (thumbnail, b""),
        (totals, b"who,amount\nann,much"),
    ] {
        let mut guest = host.instantiate(&case.module).unwrap();
        let answer = transform(&mut guest, &case.transform, input, tag);
        assert!(matches!(answer, Err(Error::NullPointer)), "{answer:?}");
        let answer = transform(&mut guest, &case.transform, &case.input, tag).unwrap();
        assert_eq!(answer, case.answer, "the next one gets it");
    }
}

#[test]
fn a_reset_leaves_nothing_of_the_last_tenant() {
    let (host, cases) = shared();
    let tag = host.tags().intern("answer").unwrap();
    let comment = format!("P6 # {SECRET}\n1 1\n255\nabc");
    let row = format!("who,amount\n{SECRET},1\n");
    for (case, input) in cases.iter().zip([SECRET, &comment, &row]) {
        let name = case.module.name();
        let mut guest = host.instantiate(&case.module).unwrap();
        let length = guest.memory_len();
        let room = guest.alloc_owned(4 << 20, tag).unwrap();
        guest.block_mut(room.id()).unwrap()[..SECRET.len()].copy_from_slice(SECRET.as_bytes());
        transform(&mut guest, &case.transform, input.as_bytes(), tag).unwrap();
        assert!(holds(&guest, SECRET) && guest.memory_len() > length, "{name}");
        guest.reset().unwrap();
        assert!(!holds(&guest, SECRET), "{name}");
        assert_eq!(guest.memory_len(), length, "{name} is as long as at first");
        assert!(matches!(guest.block(room.id()), Err(Error::Stale)), "{name}");
        let answer = transform(&mut guest, &case.transform, &case.input, tag).unwrap();
        assert_eq!(answer, case.answer, "{name}");
    }
}

#[test]
fn wild_pointers_are_trapped_and_others_go_on() {
    let (host, cases) = shared();
    let tag = host.tags().intern("answer").unwrap();
    for case in cases {
        let name = case.module.name();
        let [mut guest, mut other] = [(); 2].map(|()| host.instantiate(&case.module).unwrap());
        let end = u32::try_from(guest.memory_len()).unwrap();
        let wild = guest.call(&case.transform, (end, 4_096));
        assert!(matches!(wild, Err(Error::Trap(_))), "{name}: {wild:?}");
        let again = guest.call(&case.transform, (0, 0));
        assert!(matches!(again, Err(Error::Poisoned)), "{name}: {again:?}");
        let answer = transform(&mut other, &case.transform, &case.input, tag).unwrap();
        assert_eq!(answer, case.answer, "{name}");
        guest.reset().unwrap();
        let answer = transform(&mut guest, &case.transform, &case.input, tag).unwrap();
        assert_eq!(answer, case.answer, "{name}");
    }
}

#[test]
fn long_work_ends_with_its_fuel_and_large_work_with_its_quota() {
    let quota = Quota::new().max_bytes(2 << 20);
    let host = WasmHost::builder()
        .quota(quota)
        .deadline(Deadline::Fuel(2_000_000))
        .build()
        .unwrap();
    let tag = host.tags().intern("answer").unwrap();
    let long = "4111 1111 1111 111 ".repeat(50_000);
    for case in cases(&host) {
        let name = case.module.name();
        let mut guest = host.instantiate(&case.module).unwrap();
        let large = transform(&mut guest, &case.transform, &vec![b'a'; 3 << 20], tag);
        // C and Rust say so; AssemblyScript's allocator ends the program.
        assert!(
            matches!(
                large,
                Err(Error::GuestOutOfMemory { asked: 3_145_728 } | Error::Trap(_))
            ),
            "{name}: {large:?}"
        );
        assert!(guest.grow_refused() > 0, "{name}");
        guest.reset().unwrap();
        let answer = transform(&mut guest, &case.transform, &case.input, tag).unwrap();
        assert_eq!(answer, case.answer, "{name}");
    }
    let [redact, ..] = cases(&host);
    let mut guest = host.instantiate(&redact.module).unwrap();
    let late = transform(&mut guest, &redact.transform, long.as_bytes(), tag);
    assert!(
        matches!(
            late,
            Err(Error::Timeout {
                deadline: Deadline::Fuel(2_000_000)
            })
        ),
        "{late:?}"
    );
}

#[test]
fn a_program_that_wants_a_system_is_told_what_it_misses() {
    let (host, _) = shared();
    let module = host.compile("passphrase", PASSPHRASE).unwrap();
    assert!(module.func::<(), ()>("_start").is_ok());
    let Err(Error::Link { unmet }) = host.instantiate(&module) else {
        panic!("nothing is imported unless it is given")
    };
    let names = [
        "args_get",
        "args_sizes_get",
        "fd_fdstat_get",
        "fd_seek",
        "fd_write",
        "proc_exit",
        "random_get",
    ];
    let names = names.map(|name| format!("wasi_snapshot_preview1.{name}"));
    let mut missing: Vec<_> = unmet
        .iter()
        .map(|unmet| format!("{}.{}", unmet.module(), unmet.name()))
        .collect();
    missing.sort();
    assert_eq!(missing, names);
}

/// Runs the WASI program with these arguments and random bytes of 0; returns how it ended and what it printed.
fn passphrase(args: &[&str]) -> (Result<(), Error>, Vec<(Stream, String)>) {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&lines);
    let mut wasi = Wasi::new()
        .random(|bytes| {
            bytes.fill(0);
            Ok(())
        })
        .output(move |line| {
            let mut heard = heard.lock().expect("nobody panics");
            heard.push((line.stream(), line.text().to_owned()));
        });
    for arg in args {
        wasi = wasi.arg(arg).expect("it has no NUL");
    }
    let host = WasmHost::builder()
        .imports(Imports::new().wasi(wasi))
        .build()
        .expect("the settings make sense");
    let module = host.compile("passphrase", PASSPHRASE).expect("it is a module");
    let start = module.func::<(), ()>("_start").expect("it is a program");
    let mut guest = host.instantiate(&module).expect("it gets what it wants");
    let ended = guest.call(&start, ());
    let lines = lines.lock().expect("nobody panics").clone();
    (ended, lines)
}

#[test]
fn a_program_that_wants_a_system_gets_what_it_is_given() {
    let (ended, lines) = passphrase(&["passphrase", "2", "1"]);
    assert!(
        matches!(ended, Ok(()) | Err(Error::Exited { code: 0 })),
        "{ended:?}"
    );
    let phrase = (Stream::Stdout, "bababa".to_owned());
    assert_eq!(lines, [phrase.clone(), phrase]);
    let (ended, lines) = passphrase(&["passphrase", "none"]);
    assert!(matches!(ended, Err(Error::Exited { code: 2 })), "{ended:?}");
    let complaint = "passphrase: none is not a number from 1 to 1000".to_owned();
    assert_eq!(lines, [(Stream::Stderr, complaint)]);
}
