//! Compose files: which layers make a service, and what it is granted in the end.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    rc::Rc,
};

use indexmap::IndexMap;

use super::{Files, Platform, User, Words, Workload, allow::Lines, docker};
use crate::yaml::{self, Document, Node, Place, Source, Stream, Unusable};

/// Compose files that are used together, as with several `-f`, and those that they extend.
#[derive(Clone, Debug)]
pub struct Project {
    files: Vec<File>,
    /// How many of `files` were given; the others are extended.
    given: usize,
}

#[derive(Clone, Debug)]
struct File {
    path: PathBuf,
    source: Source,
    stream: Stream,
    /// Keys and bodies, by name.
    services: IndexMap<String, (Rc<Node>, Rc<Node>)>,
}

/// One mapping that takes part in a service. Compose lays them over each other in this order; lists are joined.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Index of its file among those of the project.
    pub file: usize,
    /// What the service is called in that file.
    pub service: String,
    /// The service's key in that file.
    pub key: Rc<Node>,
    /// Its value, possibly an alias or nothing.
    pub body: Rc<Node>,
    /// It belongs to a service that is extended.
    pub extended: bool,
}

/// A member of a list, or a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// What it says, without quotes; empty if it is no text.
    pub text: String,
    /// Where in its file it stands.
    pub place: Place,
    /// Index of its file among those of the project.
    pub file: usize,
    /// The service that it belongs to, if that is one that is extended.
    pub extended: Option<String>,
}

/// What compose makes of a service's layers, as far as privileges go.
#[derive(Clone, Debug, Default)]
pub struct Effective {
    /// Members of `cap_add`, of all layers.
    pub cap_add: Vec<Item>,
    /// Members of `cap_drop`, of all layers.
    pub cap_drop: Vec<Item>,
    /// Members of `security_opt`, of all layers.
    pub security_opt: Vec<Item>,
    /// The last layer's `privileged` that has one, if it is true.
    pub privileged: Option<Item>,
}

/// Files that may be extended from one another: more is a mistake.
const MOST_FILES: usize = 100;
/// Services that may be extended one from another: more is a mistake.
const MOST_EXTENDED: usize = 100;

impl Project {
    /// Takes the texts of compose files, and reads those that they extend.
    ///
    /// # Errors
    ///
    /// One of them is no compose file, or cannot be read.
    pub fn new(given: Vec<(PathBuf, Source)>, files: &dyn Files) -> Result<Self, Unusable> {
        let mut project = Self {
            given: given.len(),
            files: Vec::new(),
        };
        for (path, source) in given {
            project.files.push(File::new(path, source)?);
        }
        let mut wanted: Vec<(PathBuf, Place)> = project
            .files
            .iter()
            .flat_map(File::extended_files)
            .collect();
        while let Some((path, place)) = wanted.pop() {
            if project.files.iter().any(|known| known.path == path) {
                continue;
            }
            let unusable = |message| Unusable {
                place: place.clone(),
                message,
            };
            if project.files.len() >= MOST_FILES {
                return Err(unusable(format!("more than {MOST_FILES} files")));
            }
            let source = files.read_named(&path).map_err(|error| {
                unusable(format!("cannot read {path:?}, which is extended: {error}"))
            })?;
            let file = File::new(path, source)?;
            wanted.extend(file.extended_files());
            project.files.push(file);
        }
        Ok(project)
    }

    /// The same project with another text of one file.
    ///
    /// # Errors
    ///
    /// The text is no compose file.
    pub fn with_text(&self, file: usize, text: String) -> Result<Self, Unusable> {
        let mut project = self.clone();
        if let Some(file) = project.files.get_mut(file) {
            *file = File::new(file.path.clone(), file.source.with_text(text))?;
        }
        Ok(project)
    }

    /// The files that were given: numbers and texts.
    pub fn given(&self) -> impl Iterator<Item = (usize, &Path, &Source)> {
        self.files
            .iter()
            .take(self.given)
            .enumerate()
            .map(|(number, file)| (number, file.path.as_path(), &file.source))
    }

    /// The document of a file.
    pub fn document(&self, file: usize) -> &Document {
        self.files[file].document()
    }

    /// The text of a file.
    pub fn source(&self, file: usize) -> &Source {
        &self.files[file].source
    }

    /// Names of the services of the files that were given, in their order.
    pub fn services(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for file in self.files.iter().take(self.given) {
            for name in file.services.keys() {
                if !names.contains(name) {
                    names.push(name.clone());
                }
            }
        }
        names
    }

    /// What a service is made of.
    ///
    /// # Errors
    ///
    /// It extends what is not there, or itself.
    pub fn layers(&self, service: &str) -> Result<Vec<Layer>, Unusable> {
        let mut layers = Vec::new();
        for file in 0..self.given {
            self.stack(file, service, &mut Vec::new(), &mut layers)?;
        }
        Ok(layers)
    }

    /// Puts a service of one file on top, after what it extends.
    fn stack(
        &self,
        file: usize,
        service: &str,
        below: &mut Vec<(usize, String)>,
        layers: &mut Vec<Layer>,
    ) -> Result<(), Unusable> {
        let Some((key, body)) = self.files[file].services.get(service).cloned() else {
            return Ok(());
        };
        let unusable = |message| Unusable {
            place: self.source(file).place(key.span.start),
            message,
        };
        if below.len() >= MOST_EXTENDED {
            return Err(unusable(format!(
                "more than {MOST_EXTENDED} services extend one another"
            )));
        }
        below.push((file, service.to_owned()));
        if let Some((other_file, other)) = self.files[file].extends(&body) {
            let other_file = match other_file {
                None => file,
                Some(path) => self
                    .files
                    .iter()
                    .position(|known| known.path == path)
                    .ok_or_else(|| unusable(format!("extends {path:?}, which was not read")))?,
            };
            if below.contains(&(other_file, other.clone())) {
                return Err(unusable(format!("service {service:?} extends itself")));
            }
            let before = layers.len();
            self.stack(other_file, &other, below, layers)?;
            if layers.len() == before {
                return Err(unusable(format!(
                    "service {service:?} extends {other:?}, which is not in {:?}",
                    self.source(other_file).name()
                )));
            }
        }
        below.pop();
        layers.push(Layer {
            file,
            service: service.to_owned(),
            key,
            body,
            extended: !below.is_empty(),
        });
        Ok(())
    }

    /// What compose makes of a service.
    ///
    /// # Errors
    ///
    /// It extends what is not there, or a list is none.
    pub fn effective(&self, service: &str) -> Result<Effective, Unusable> {
        let mut effective = Effective::default();
        for layer in self.layers(service)? {
            let item = |node: &Node| Item {
                text: node.text().unwrap_or_default().to_owned(),
                place: self.source(layer.file).place(node.target().span.start),
                file: layer.file,
                extended: layer.extended.then(|| layer.service.clone()),
            };
            for (key, list) in [
                ("cap_add", &mut effective.cap_add),
                ("cap_drop", &mut effective.cap_drop),
                ("security_opt", &mut effective.security_opt),
            ] {
                let Some(entry) = layer.body.get(key) else {
                    continue;
                };
                if !entry.value.is_null()
                    && !matches!(entry.value.target().kind, yaml::Kind::Sequence { .. })
                {
                    return Err(Unusable {
                        place: self.source(layer.file).place(entry.value.start),
                        message: format!("{key} of service {service:?} is no list"),
                    });
                }
                list.extend(entry.value.items().iter().map(|node| item(node)));
            }
            if let Some(entry) = layer.body.get("privileged") {
                effective.privileged = entry.value.is_true().then(|| item(&entry.value));
            }
        }
        Ok(effective)
    }

    /// What each service is granted.
    ///
    /// # Errors
    ///
    /// As [`Project::effective`].
    pub fn workloads(&self) -> Result<Vec<Workload>, Unusable> {
        self.services()
            .iter()
            .map(|service| self.workload(service))
            .collect()
    }

    fn workload(&self, service: &str) -> Result<Workload, Unusable> {
        let effective = self.effective(service)?;
        let layers = self.layers(service)?;
        let words = |items: &[Item]| {
            Words::of(
                items
                    .iter()
                    .map(|item| (item.text.as_str(), item.place.clone())),
            )
        };
        let (add, drop) = (words(&effective.cap_add), words(&effective.cap_drop));
        let privileged = effective.privileged.map(|item| item.place);
        let granted = if privileged.is_some() {
            capaudit_core::capability::CapSet::known()
        } else {
            docker(&add, &drop)
        };
        let mut lines: HashMap<usize, Lines> = HashMap::new();
        for layer in &layers {
            let (source, stream) = (self.source(layer.file), &self.files[layer.file].stream);
            let of_file = lines.entry(layer.file).or_default();
            of_file.add(
                source,
                stream,
                layer.key.start,
                layer.body.span.end.max(layer.key.span.end),
            );
            // A list may be written elsewhere, and be taken over from there.
            for entry in ["cap_add", "privileged"].map(|key| layer.body.get(key)) {
                for node in entry.iter().flat_map(|entry| {
                    entry
                        .value
                        .items()
                        .iter()
                        .chain([&entry.value])
                        .map(|node| node.target())
                }) {
                    of_file.add_line(source, node.span.start);
                }
            }
        }
        let allowed = lines
            .iter()
            .flat_map(|(file, lines)| {
                lines.allowances(self.source(*file), &self.files[*file].stream)
            })
            .collect();
        let image = layers
            .iter()
            .rev()
            .find_map(|layer| layer.body.get("image"))
            .and_then(|entry| entry.value.text().map(str::to_owned))
            .unwrap_or_default();
        let user = layers
            .iter()
            .rev()
            .find_map(|layer| layer.body.get("user"))
            .map_or(User::Unsaid, |entry| {
                User::parse(entry.value.text().unwrap_or_default())
            });
        let own = layers.iter().find(|layer| !layer.extended);
        Ok(Workload {
            platform: Platform::Compose,
            name: service.to_owned(),
            owner: None,
            image,
            title: format!("service {service}"),
            place: own.map(|layer| self.source(layer.file).place(layer.key.start)),
            granted,
            held: granted,
            drops_all: drop.all.is_some(),
            user,
            user_namespace: None,
            no_new_privileges: Some(
                effective
                    .security_opt
                    .iter()
                    .rev()
                    .find_map(|item| no_new_privileges(&item.text))
                    .unwrap_or(false),
            ),
            named: add.capabilities,
            privileged,
            adds_all: add.all,
            allowed,
            unclear: [add.unclear, drop.unclear].concat(),
        })
    }
}

/// What a member of `security_opt` says about new privileges, if that is what it is about. Docker takes `:` and `=`,
/// and the name alone for true (`parseSecurityOpt` in moby's daemon/daemon_unix.go, 20.10).
pub fn no_new_privileges(option: &str) -> Option<bool> {
    let rest = option.trim().strip_prefix("no-new-privileges")?;
    match rest.trim_start_matches([':', '=']) {
        "" => Some(true),
        value => value.trim().to_ascii_lowercase().parse().ok(),
    }
}

impl File {
    fn new(path: PathBuf, source: Source) -> Result<Self, Unusable> {
        let stream = yaml::parse(&source)?;
        let unusable = |at: usize, message: &str| Unusable {
            place: source.place(at),
            message: message.to_owned(),
        };
        match stream.documents.as_slice() {
            [document] => {
                let services = document.root.get("services");
                if services.is_none_or(|entry| {
                    !matches!(entry.value.target().kind, yaml::Kind::Mapping { .. })
                }) {
                    return Err(unusable(
                        document.root.start,
                        "this is no compose file: it has no mapping called services",
                    ));
                }
            }
            [] => return Err(unusable(0, "this is no compose file: it is empty")),
            [_, second, ..] => {
                return Err(unusable(
                    second.root.start,
                    "a compose file is one document: this is the second",
                ));
            }
        }
        let services = services(&stream);
        Ok(Self {
            path,
            source,
            stream,
            services,
        })
    }

    fn document(&self) -> &Document {
        // There is exactly one: see new().
        &self.stream.documents[0]
    }

    /// What a service extends: a file, if it is another one, and a service.
    fn extends(&self, body: &Node) -> Option<(Option<PathBuf>, String)> {
        let extends = body.get("extends")?.value;
        if let Some(service) = extends.text() {
            return Some((None, service.to_owned()));
        }
        let service = extends.get("service")?.value.text()?.to_owned();
        let file = extends.get("file").and_then(|entry| {
            let name = entry.value.text()?.to_owned();
            Some(self.path.parent().unwrap_or(Path::new("")).join(name))
        });
        // A file may extend a service of its own by naming itself.
        Some((file.filter(|file| *file != self.path), service))
    }

    fn extended_files(&self) -> Vec<(PathBuf, Place)> {
        self.services
            .values()
            .filter_map(|(key, body)| {
                let (file, _) = self.extends(body)?;
                Some((file?, self.source.place(key.span.start)))
            })
            .collect()
    }
}

/// Keys and bodies of a file's services, by name.
fn services(stream: &Stream) -> IndexMap<String, (Rc<Node>, Rc<Node>)> {
    let services = stream
        .documents
        .first()
        .and_then(|document| document.root.get("services"));
    services
        .iter()
        .flat_map(|services| services.value.entries())
        .filter_map(|(key, body)| Some((key.text()?.to_owned(), (Rc::clone(key), Rc::clone(body)))))
        .filter(|(name, _)| name != "<<")
        .collect()
}
