//! Moving a full file out of the way, and those before it one number up.

use std::path::{Path, PathBuf};
use std::{fs, io};

/// Makes the file at `path` number 1; the oldest goes if there are `keep` already. Where this fails, no file is gone.
///
/// The file gets its new name in two steps. The first is the one that fails where it cannot be moved, mounted alone or
/// opened by somebody else, and nothing else has moved by then.
pub(super) fn rotate(path: &Path, keep: usize) -> io::Result<()> {
    rotate_by(path, keep, &mut |from, to| fs::rename(from, to))
}

/// Ends a rotation that the end of a process has cut off.
pub(super) fn finish(path: &Path, keep: usize) -> io::Result<()> {
    finish_by(path, keep, &mut |from, to| fs::rename(from, to))
}

type Rename<'a> = dyn FnMut(&Path, &Path) -> io::Result<()> + 'a;

fn rotate_by(path: &Path, keep: usize, rename: &mut Rename<'_>) -> io::Result<()> {
    finish_by(path, keep, rename)?;
    if keep == 0 {
        return fs::remove_file(path);
    }
    let aside = aside(path);
    rename(path, &aside)?;
    let numbered = number(path, keep, rename);
    // Unless another one is there by now. If this fails, too, the next rotation finds it aside.
    if numbered.is_err() && !path.exists() {
        let _ = rename(&aside, path);
    }
    numbered
}

fn finish_by(path: &Path, keep: usize, rename: &mut Rename<'_>) -> io::Result<()> {
    let aside = aside(path);
    match fs::symlink_metadata(&aside) {
        Ok(found) if !found.is_dir() && keep == 0 => fs::remove_file(aside),
        Ok(found) if !found.is_dir() => number(path, keep, rename),
        _ => Ok(()),
    }
}

/// Makes the file aside number 1.
fn number(path: &Path, keep: usize, rename: &mut Rename<'_>) -> io::Result<()> {
    let free = first_free(path, keep)?;
    for number in (1..free).rev() {
        rename(&numbered(path, number), &numbered(path, number + 1))?;
    }
    rename(&aside(path), &numbered(path, 1))?;
    if free > keep {
        // If this fails, the next one to go takes its place.
        let _ = fs::remove_file(numbered(path, free));
    }
    Ok(())
}

/// Returns the first number that no file has, up to which all move: what failed half-way is not done twice. One beyond
/// `keep` is for the oldest, which goes when everything else is done.
fn first_free(path: &Path, keep: usize) -> io::Result<usize> {
    for number in 1..=keep {
        match fs::symlink_metadata(numbered(path, number)) {
            Ok(found) if found.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(number),
            Err(error) => return Err(error),
        }
    }
    Ok(keep.saturating_add(1))
}

/// Where a file is between its name and its number.
fn aside(path: &Path) -> PathBuf {
    with_end(path, ".rotating")
}

fn numbered(path: &Path, number: usize) -> PathBuf {
    with_end(path, &format!(".{number}"))
}

fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// A folder of its own, gone afterwards, with a file and some before it that say which rotation they are of.
    struct Files(PathBuf);

    impl Files {
        fn new(old: usize) -> Self {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let folder = format!("cortex-trace-rotate-{}-{number}", std::process::id());
            let files = Self(std::env::temp_dir().join(folder));
            fs::create_dir(&files.0).unwrap();
            for number in 1..=old {
                fs::write(numbered(&files.path(), number), (old - number).to_string()).unwrap();
            }
            fs::write(files.path(), old.to_string()).unwrap();
            files
        }

        fn path(&self) -> PathBuf {
            self.0.join("traces.jsonl")
        }

        /// Returns what the files say, the oldest first.
        fn contents(&self) -> Vec<u32> {
            let entries = fs::read_dir(&self.0).unwrap();
            let text = |entry: io::Result<fs::DirEntry>| fs::read_to_string(entry.unwrap().path()).unwrap();
            let mut contents: Vec<u32> = entries.map(|entry| text(entry).parse().unwrap()).collect();
            contents.sort_unstable();
            contents
        }

        fn at(&self, number: usize) -> Option<u32> {
            let text = fs::read_to_string(numbered(&self.path(), number)).ok()?;
            Some(text.parse().unwrap())
        }
    }

    impl Drop for Files {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// Renames, but not the calls for which `fails` says so; the first is 0.
    fn failing(mut fails: impl FnMut(usize) -> bool) -> impl FnMut(&Path, &Path) -> io::Result<()> {
        let mut calls = 0..;
        move |from, to| match calls.next() {
            Some(call) if fails(call) => Err(io::ErrorKind::ResourceBusy.into()),
            _ => fs::rename(from, to),
        }
    }

    #[test]
    fn the_newest_are_kept() {
        let files = Files::new(3);
        rotate(&files.path(), 5).unwrap();
        assert_eq!(
            [1, 2, 3, 4, 5].map(|n| files.at(n)),
            [Some(3), Some(2), Some(1), Some(0), None]
        );
        fs::write(files.path(), "4").unwrap();
        rotate(&files.path(), 4).unwrap();
        assert_eq!(
            [1, 2, 3, 4, 5].map(|n| files.at(n)),
            [Some(4), Some(3), Some(2), Some(1), None]
        );
        fs::write(files.path(), "5").unwrap();
        fs::remove_file(numbered(&files.path(), 2)).unwrap();
        rotate(&files.path(), usize::MAX).unwrap();
        assert_eq!(
            [1, 2, 3, 4].map(|n| files.at(n)),
            [Some(5), Some(4), Some(2), Some(1)]
        );
        fs::write(files.path(), "6").unwrap();
        rotate(&files.path(), 0).unwrap();
        assert_eq!(files.contents(), [1, 2, 4, 5]);
    }

    #[test]
    fn a_file_that_cannot_be_moved_costs_no_other_one() {
        let files = Files::new(5);
        let path = files.path();
        for _ in 0..10 {
            // As of a file that is mounted alone: others in the folder can be moved.
            let error = rotate_by(&path, 5, &mut |from, to| {
                if from == path {
                    return Err(io::ErrorKind::ResourceBusy.into());
                }
                fs::rename(from, to)
            });
            assert_eq!(error.unwrap_err().kind(), io::ErrorKind::ResourceBusy);
        }
        assert_eq!([1, 2, 3, 4, 5].map(|n| files.at(n)), [4, 3, 2, 1, 0].map(Some));
        assert_eq!(files.contents(), [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_step_that_fails_loses_nothing_and_is_undone() {
        for (old, step) in (0..=3).flat_map(|old| (0..old + 2).map(move |step| (old, step))) {
            let files = Files::new(old);
            for again in 0..3 {
                rotate_by(&files.path(), 3, &mut failing(|call| call == step)).unwrap_err();
                let all: Vec<u32> = (0..).take(old + 1).collect();
                assert_eq!(files.contents(), all, "{old} {step} {again}");
                let current = fs::read_to_string(files.path()).unwrap();
                assert_eq!(current, old.to_string(), "{old} {step} {again}");
                if step != 0 {
                    break; // the next attempt takes fewer steps
                }
            }
            rotate(&files.path(), 3).unwrap();
            assert_eq!(files.at(1).map(|n| n as usize), Some(old));
            assert!(files.contents().len() > old.min(2));
        }
    }

    #[test]
    fn a_crash_between_two_steps_loses_nothing() {
        for (old, step) in (0..=3).flat_map(|old| (0..old + 2).map(move |step| (old, step))) {
            let files = Files::new(old);
            rotate_by(&files.path(), 3, &mut failing(|call| call >= step)).unwrap_err();
            let all: Vec<u32> = (0..).take(old + 1).collect();
            assert_eq!(files.contents(), all, "{old} {step}");
            // The next process.
            finish(&files.path(), 3).unwrap();
            assert!(!aside(&files.path()).exists());
            if step > 0 {
                assert_eq!(files.at(1).map(|n| n as usize), Some(old), "{old} {step}");
                fs::write(files.path(), (old + 1).to_string()).unwrap();
            }
            rotate(&files.path(), 3).unwrap();
            let newest = u32::try_from(if step > 0 { old + 1 } else { old }).unwrap();
            let expected: Vec<u32> = (0..=newest).rev().take(3).collect();
            let found: Vec<u32> = (1..=3).filter_map(|n| files.at(n)).collect();
            assert_eq!(found, expected, "{old} {step}");
        }
    }

    #[test]
    fn folders_stay_where_they_are() {
        let files = Files::new(2);
        fs::create_dir(numbered(&files.path(), 3)).unwrap();
        assert_eq!(
            rotate(&files.path(), 5).unwrap_err().kind(),
            io::ErrorKind::IsADirectory
        );
        assert_eq!((files.at(1), files.at(2)), (Some(1), Some(0)));
        assert!(files.path().exists());
        fs::remove_dir(numbered(&files.path(), 3)).unwrap();
        fs::create_dir(aside(&files.path())).unwrap();
        finish(&files.path(), 5).unwrap();
        rotate(&files.path(), 5).unwrap_err();
        assert_eq!((files.at(1), files.at(2)), (Some(1), Some(0)));
        assert!(files.path().exists());
    }

    #[test]
    fn with_no_old_files_wanted_what_is_left_aside_goes() {
        let files = Files::new(0);
        fs::write(aside(&files.path()), "7").unwrap();
        finish(&files.path(), 0).unwrap();
        assert_eq!(files.contents(), [0]);
    }
}
