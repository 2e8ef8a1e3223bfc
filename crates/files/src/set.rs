//! Several files of one folder, of which all appear or none.

use std::fs::{self, File};
use std::io::{self, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};

use crate::claim::{Claim, unwritable};
use crate::commit::{self, Renaming};
use crate::draft::{Draft, DraftFile, DraftLink, create_folders, named, sync_parent};
use crate::whole::vacant;

/// Files and links that are being written. They are removed unless they are committed.
#[derive(Debug)]
pub struct FileSet<'c> {
    claim: &'c Claim,
    /// Names and drafts.
    files: Vec<(String, DraftFile)>,
    links: Vec<(String, DraftLink)>,
}

impl<'c> FileSet<'c> {
    /// Creates an empty draft of every file, so that obstacles show before the work, not after it. The names are in the
    /// claimed folder, or beside the claimed file; one may lead through folders, which are created.
    ///
    /// # Errors
    /// The operating system's; `IsADirectory` or `InvalidInput` with the name if something else is in a file's place;
    /// `InvalidInput` for a name with a line break.
    pub fn prepare(claim: &'c Claim, names: &[&str]) -> io::Result<FileSet<'c>> {
        let mut set = FileSet { claim, files: Vec::new(), links: Vec::new() };
        for name in names {
            commit::plain(Path::new(name), Path::new(name))?;
            let path = set.place(name)?;
            vacant(&path).map_err(|error| named(&path, &error))?;
            let draft = DraftFile::create(&path).map_err(|error| named(&path, &error))?;
            set.files.push(((*name).to_owned(), draft));
        }
        Ok(set)
    }

    /// Where a file will be; its folder is there afterwards.
    fn place(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.claim.folder().join(name);
        let folder = path.parent().unwrap_or(self.claim.folder());
        create_folders(folder).map_err(|error| unwritable(folder, &error))?;
        Ok(path)
    }

    /// Writes one of the files, or overwrites its draft.
    ///
    /// # Errors
    /// `content`'s or the operating system's, in a sentence with the file's name.
    pub fn write<E: From<io::Error> + std::fmt::Display>(
        &mut self,
        name: &str,
        content: impl FnOnce(&mut BufWriter<File>) -> Result<(), E>,
    ) -> io::Result<()> {
        let (_, draft) = self.files.iter_mut().find(|(known, _)| known == name).expect("the name was prepared");
        let written = (|| {
            let file = draft.file();
            file.set_len(0)?;
            file.rewind()?;
            let mut file = BufWriter::new(file.try_clone()?);
            content(&mut file)?;
            file.flush()?;
            Ok::<(), E>(draft.complete()?)
        })();
        written.map_err(|error| {
            let path = self.claim.folder().join(name);
            let text = format!("{}: could not be written: {error}. No partly written file is left", path.display());
            io::Error::other(text)
        })
    }

    /// Adds a symbolic link to `target`.
    ///
    /// # Errors
    /// The operating system's; `Unsupported` on systems without symbolic links; as [`FileSet::prepare`] where something
    /// else is in its place.
    pub fn link(&mut self, name: &str, target: &str) -> io::Result<()> {
        let path = self.place(name)?;
        vacant(&path).map_err(|error| named(&path, &error))?;
        let draft = DraftLink::create(target, &path).map_err(|error| named(&path, &error))?;
        self.links.push((name.to_owned(), draft));
        Ok(())
    }

    /// Gives every file and link its name and replaces existing ones. Returns paths and sizes of the files. A run that is
    /// cut off here is finished by the next one that claims the folder.
    ///
    /// # Errors
    /// The operating system's, with the file's name.
    pub fn commit(mut self) -> io::Result<Vec<(PathBuf, u64)>> {
        let folder = self.claim.folder();
        let mut drafts: Vec<(&String, &mut dyn Draft)> = Vec::new();
        drafts.extend(self.files.iter_mut().map(|(name, draft)| (&*name, draft as &mut dyn Draft)));
        drafts.extend(self.links.iter_mut().map(|(name, draft)| (&*name, draft as &mut dyn Draft)));
        let journal = drafts.len() > 1;
        if journal {
            let renaming = |(name, draft): &(&String, &mut dyn Draft)| Renaming {
                draft: Path::new(name).with_file_name(draft.path().file_name().unwrap_or_default()),
                name: name.into(),
            };
            let renamings: Vec<Renaming> = drafts.iter().map(renaming).collect();
            drafts.iter().try_for_each(|(_, draft)| sync_parent(draft.path()))?;
            commit::begin(self.claim.journal(), &renamings)?;
        }
        if let Err(error) = rename_all(folder, &mut drafts) {
            if journal {
                // The next claim of the folder finishes.
                drafts.iter_mut().for_each(|(_, draft)| draft.settle());
            }
            return Err(error);
        }
        if journal {
            commit::end(self.claim.journal())?;
        }
        let size = |(name, _): &(String, DraftFile)| {
            let path = folder.join(name);
            let bytes = fs::metadata(&path).map_err(|error| named(&path, &error))?.len();
            Ok((path, bytes))
        };
        self.files.iter().map(size).collect()
    }
}

fn rename_all(folder: &Path, drafts: &mut [(&String, &mut dyn Draft)]) -> io::Result<()> {
    for (name, draft) in drafts.iter_mut() {
        let path = folder.join(name);
        draft.rename(&path).map_err(|error| named(&path, &error))?;
    }
    drafts.iter().try_for_each(|(name, _)| sync_parent(&folder.join(name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    const NAMES: [&str; 2] = ["a.json", "b.json"];

    fn claim(folder: &Scratch) -> Claim {
        Claim::within(folder.path()).unwrap()
    }

    #[test]
    fn all_or_nothing() {
        let folder = Scratch::new("all");
        let one = claim(&folder);
        let mut set = FileSet::prepare(&one, &NAMES).unwrap();
        set.write("a.json", |file| file.write_all(b"{}")).unwrap();
        let error = set.write("b.json", |_| Err(io::Error::other("no space"))).unwrap_err().to_string();
        assert!(error.contains("b.json: could not be written: no space"), "{error}");
        drop(set);
        drop(one);
        assert!(folder.names().is_empty());
        let set = claim(&folder);
        assert_eq!(FileSet::prepare(&set, &NAMES).unwrap().commit().unwrap().len(), 2);
        drop(set);
        assert_eq!(folder.names(), NAMES);
    }

    #[test]
    fn a_folder_in_a_files_place_is_refused_at_once() {
        let folder = Scratch::new("taken");
        fs::create_dir_all(folder.path().join("b.json")).unwrap();
        let error = FileSet::prepare(&claim(&folder), &NAMES).unwrap_err().to_string();
        let path = folder.path().join("b.json");
        let what = "it is not a file but a folder; remove it, or give another place";
        assert_eq!(error, format!("{}: {what}", path.display()));
        assert_eq!(folder.names(), ["b.json"]);
        let claim = claim(&folder);
        let mut set = FileSet::prepare(&claim, &["a.json"]).unwrap();
        assert!(set.link("b.json", "a.json").unwrap_err().to_string().ends_with(what), "a link in its place as well");
    }

    #[test]
    fn a_file_in_a_folders_place_is_named_with_what_to_do() {
        let folder = Scratch::new("no-folder-in-set");
        let file = folder.path().join("lib");
        fs::write(&file, "mine").unwrap();
        let claim = claim(&folder);
        for name in ["lib/a.so", "lib/cmake/a/a.cmake"] {
            let error = FileSet::prepare(&claim, &[name]).unwrap_err().to_string();
            let what = "expected a directory that can be written, found: a file. Give another place";
            assert_eq!(error, format!("{}: {what}", file.display()));
        }
    }

    #[test]
    fn a_name_with_a_line_break_is_refused_at_once() {
        let folder = Scratch::new("lines");
        let refused = FileSet::prepare(&claim(&folder), &["a.json", "b\n.json"]).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
        assert!(refused.to_string().contains("found a line break"), "{refused}");
        assert!(folder.names().is_empty());
    }

    #[test]
    fn the_second_owner_of_a_folder_is_refused() {
        let folder = Scratch::new("owner");
        let first = claim(&folder);
        assert_eq!(Claim::within(folder.path()).unwrap_err().kind(), io::ErrorKind::ResourceBusy);
        drop(first);
        claim(&folder);
    }

    #[test]
    fn files_that_wait_for_their_names_are_not_swept_by_who_claims_the_folder() {
        let folder = Scratch::new("waiting");
        let beside = Claim::beside(&folder.path().join("out.json")).unwrap();
        let mut set = FileSet::prepare(&beside, &NAMES).unwrap();
        set.write("a.json", |file| file.write_all(b"new a")).unwrap();
        let renamings: Vec<Renaming> = (set.files.iter())
            .map(|(name, draft)| Renaming { draft: draft.path().file_name().unwrap().into(), name: name.into() })
            .collect();
        commit::begin(beside.journal(), &renamings).unwrap();
        set.files.iter_mut().for_each(|(_, draft)| draft.settle());
        drop(set);
        drop(beside);

        drop(Claim::within(folder.path()).unwrap());
        drop(Claim::beside(&folder.path().join("out.json")).unwrap());
        assert_eq!(fs::read_to_string(folder.path().join("a.json")).unwrap(), "new a");
        assert_eq!(folder.names(), NAMES);
    }

    #[test]
    fn a_commit_that_was_cut_off_is_finished_by_the_next_claim() {
        let folder = Scratch::new("cut-off");
        for (name, content) in NAMES.iter().zip(["old a", "old b"]) {
            fs::write(folder.path().join(name), content).unwrap();
        }
        let killed = claim(&folder);
        let mut set = FileSet::prepare(&killed, &NAMES).unwrap();
        set.write("a.json", |file| file.write_all(b"new a")).unwrap();
        set.write("b.json", |file| file.write_all(b"new b")).unwrap();
        // As a process that is killed after the journal and the first rename leaves it.
        let drafts: Vec<PathBuf> = set.files.iter().map(|(_, draft)| draft.path().to_owned()).collect();
        let renamings: Vec<Renaming> = drafts
            .iter()
            .zip(NAMES)
            .map(|(draft, name)| Renaming { draft: draft.file_name().unwrap().into(), name: name.into() })
            .collect();
        commit::begin(killed.journal(), &renamings).unwrap();
        fs::rename(&drafts[0], folder.path().join("a.json")).unwrap();
        set.files.iter_mut().for_each(|(_, draft)| draft.settle());
        drop(set);
        drop(killed);

        // Who claims another place in the folder leaves these files alone.
        drop(Claim::beside(&folder.path().join("a.json")).unwrap());
        let mut claim = Claim::within(folder.path()).unwrap();
        assert!(claim.notes()[0].contains("1 of them have their names now"));
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!((read("a.json"), read("b.json")), ("new a".into(), "new b".into()));
        drop(claim);
        assert_eq!(folder.names(), NAMES);
    }
}
