//! A project made one of its own: nothing that it is made of is anybody else's, so that nothing of the user's is touched.
//!
//! What compose resolves is edited in place, by the positions of its values: compose 1 prints YAML 1.1, in which a value that is read
//! and written again can change its type.

use std::{
    ops::Range,
    path::{Path, PathBuf},
};

use capaudit_formats::yaml::{self, Kind, Node, Source};

use super::super::words::NotUnderstood;

/// A project of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Isolated {
    /// The file that compose makes it of.
    pub text: String,
    /// What is to be copied before it starts.
    pub copies: Vec<Copy>,
    /// What is different from the user's project, each a sentence.
    pub notes: Vec<String>,
}

/// A file or directory of which the project gets a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// The user's own, which nobody writes to.
    pub from: PathBuf,
    /// Where the copy is to be, which the project mounts.
    pub to: PathBuf,
    /// The service that mounts it.
    pub service: String,
}

/// An edit of the text.
struct Edit {
    range: Range<usize>,
    text: String,
}

/// What is collected on the way.
struct Isolation<'a> {
    source: &'a Source,
    project: &'a str,
    copies_in: &'a Path,
    as_is: &'a [PathBuf],
    edits: Vec<Edit>,
    copies: Vec<Copy>,
    notes: Vec<String>,
}

/// Makes what compose resolved a project of its own, named `project`. Copies of what is mounted writable go below `copies_in`, but
/// those of paths in `as_is` are the user's own.
///
/// # Errors
///
/// The text is not what compose prints, or a volume is a place of the machine under another name.
pub fn isolated(
    resolved: &str,
    project: &str,
    copies_in: &Path,
    as_is: &[PathBuf],
) -> Result<Isolated, NotUnderstood> {
    let source = Source::new("compose's `config`", resolved.to_owned());
    let stream = yaml::parse(&source).map_err(|error| NotUnderstood::new(error.to_string()))?;
    let [document] = stream.documents.as_slice() else {
        return Err(NotUnderstood::new("compose's `config` printed no document"));
    };
    let mut isolation = Isolation {
        source: &source,
        project,
        copies_in,
        as_is,
        edits: Vec::new(),
        copies: Vec::new(),
        notes: Vec::new(),
    };
    let root = &document.root;
    if let Some(services) = root.at(&["services"]) {
        for (key, service) in services.entries() {
            isolation.service(key.text().unwrap_or_default(), service);
        }
    }
    for kind in ["volumes", "networks"] {
        let Some(definitions) = root.at(&[kind]) else {
            continue;
        };
        for (key, definition) in definitions.entries() {
            isolation.definition(kind, key.text().unwrap_or_default(), definition)?;
        }
    }
    Ok(isolation.applied())
}

impl Isolation<'_> {
    fn service(&mut self, name: &str, service: &Node) {
        if let Some(entry) = service.get("container_name") {
            // The user's own container may have it.
            self.remove(&entry.key, &entry.value);
        }
        let Some(volumes) = service.at(&["volumes"]) else {
            return;
        };
        for volume in volumes.items() {
            match &volume.target().kind {
                Kind::Scalar { text, .. } => {
                    let mut parts = text.split(':');
                    let (Some(from), Some(_)) = (parts.next(), parts.next()) else {
                        continue;
                    };
                    let is_read_only = parts.any(|modes| modes.split(',').any(|it| it == "ro"));
                    let rest = text.get(from.len()..).unwrap_or_default();
                    if let Some(copy) = self.copy_of(name, from, is_read_only) {
                        self.replace(volume, &format!("{copy}{rest}"));
                    }
                }
                Kind::Mapping { .. } => {
                    let is_bind = volume
                        .at(&["type"])
                        .is_some_and(|it| it.text() == Some("bind"));
                    let is_read_only = volume.at(&["read_only"]).is_some_and(|it| it.is_true());
                    if let Some(source) = volume.at(&["source"]).filter(|_source| is_bind)
                        && let Some(from) = source.text()
                        && let Some(copy) = self.copy_of(name, from, is_read_only)
                    {
                        self.replace(&source, &copy);
                    }
                }
                _ => {}
            }
        }
    }

    /// Where the copy of what a service mounts goes to; `None` if it needs none.
    fn copy_of(&mut self, service: &str, from: &str, is_read_only: bool) -> Option<String> {
        let from = PathBuf::from(from);
        if is_read_only || !from.is_absolute() || self.as_is.contains(&from) {
            return None;
        }
        // Services that share a place of the machine share its copy.
        let known = self.copies.iter().position(|copy| copy.from == from);
        let place = known.unwrap_or_else(|| {
            self.copies.push(Copy {
                to: self.copies_in.join(self.copies.len().to_string()),
                from,
                service: service.to_owned(),
            });
            self.copies.len() - 1
        });
        Some(self.copies[place].to.to_string_lossy().into_owned())
    }

    /// A volume or network of the project.
    fn definition(
        &mut self,
        kind: &str,
        name: &str,
        definition: &Node,
    ) -> Result<(), NotUnderstood> {
        if let Some(device) = definition.at(&["driver_opts", "device"]) {
            return Err(NotUnderstood::new(format!(
                "volume {name} is {} under another name, where the life that is audited would leave its data: give the service a volume without driver_opts",
                device.text().unwrap_or_default()
            )));
        }
        let own = format!("{}_", self.project);
        if let Some(entry) = definition.get("name")
            && !entry
                .value
                .text()
                .is_some_and(|name| name.starts_with(&own))
        {
            self.remove(&entry.key, &entry.value);
        }
        if let Some(entry) = definition.get("external")
            && entry.value.text() != Some("false")
        {
            let one = kind.trim_end_matches('s');
            self.notes.push(format!(
                "{one} {name} is external: the life that is audited has an empty one in its place"
            ));
            self.remove(&entry.key, &entry.value);
        }
        Ok(())
    }

    /// Takes out the lines of a key and its value.
    fn remove(&mut self, key: &Node, value: &Node) {
        let last = value.span.end.max(key.span.end).saturating_sub(1);
        self.edits.push(Edit {
            range: self.source.line_start(key.start)..self.source.line_end(last),
            text: String::new(),
        });
    }

    fn replace(&mut self, node: &Node, text: &str) {
        self.edits.push(Edit {
            range: node.start..node.span.end,
            // A JSON string is one of YAML, too. Compose would take `$` for a variable; what it prints has them doubled.
            text: serde_json::Value::from(text).to_string(),
        });
    }

    fn applied(mut self) -> Isolated {
        self.edits.sort_by_key(|edit| edit.range.start);
        let mut text = String::new();
        let mut done = 0;
        for edit in &self.edits {
            // What was written once and stands for several was edited already.
            if edit.range.start < done {
                continue;
            }
            text.push_str(
                self.source
                    .text()
                    .get(done..edit.range.start)
                    .unwrap_or_default(),
            );
            text.push_str(&edit.text);
            done = edit.range.end;
        }
        text.push_str(self.source.text().get(done..).unwrap_or_default());
        Isolated {
            text,
            copies: self.copies,
            notes: self.notes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn isolated(text: &str) -> Isolated {
        let as_is = ["/as/is".into()];
        super::isolated(text, "own", Path::new("/tmp/x"), &as_is).unwrap_or_else(|error| {
            panic!("{error}");
        })
    }

    const FIRST: &str = "\
services:
  db:
    container_name: db
    image: x
    volumes:
    - data:/data:rw
    - /etc/db:/etc/db:rw
    - /etc/db/ro:/ro:ro
    - /as/is:/as
  web:
    volumes:
    - /etc/db:/db
    - source: /srv/www
      target: /www
      type: bind
    - source: data
      target: /data
      type: volume
networks:
  front:
    external: true
    name: front
volumes:
  data:
    name: production-data
  mine:
    name: own_mine
";

    #[test]
    fn nothing_of_the_users_is_left_to_be_written() {
        let made = isolated(FIRST);
        assert_eq!(
            made.text,
            "\
services:
  db:
    image: x
    volumes:
    - data:/data:rw
    - \"/tmp/x/0:/etc/db:rw\"
    - /etc/db/ro:/ro:ro
    - /as/is:/as
  web:
    volumes:
    - \"/tmp/x/0:/db\"
    - source: \"/tmp/x/1\"
      target: /www
      type: bind
    - source: data
      target: /data
      type: volume
networks:
  front:
volumes:
  data:
  mine:
    name: own_mine
"
        );
        let copied: Vec<&Path> = made.copies.iter().map(|copy| copy.from.as_path()).collect();
        assert_eq!(copied, [Path::new("/etc/db"), Path::new("/srv/www")]);
        assert_eq!(made.notes.len(), 1, "{:?}", made.notes);
    }

    #[test]
    fn a_place_of_the_machine_is_no_volume() {
        let text = "services:\n  x: {}\nvolumes:\n  v:\n    driver_opts:\n      device: /srv\n      o: bind\n";
        let refused = super::isolated(text, "own", Path::new("/tmp/x"), &[]);
        assert!(refused.is_err_and(|error| error.to_string().contains("/srv")));
    }
}
