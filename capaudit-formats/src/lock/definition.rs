//! What compose files say of a service, as a digest.

use std::collections::BTreeSet;

use hmac_sha256::Hash;

use crate::{
    manifest::compose::{Project, no_new_privileges},
    yaml::{Data, Unusable},
};

/// Keys of a service that a lock tells of by itself.
const TOLD: [&str; 4] = ["cap_add", "cap_drop", "privileged", "image"];
/// Keys of a file that change nothing for a service, or are told service by service.
const OUTSIDE: [&str; 3] = ["services", "name", "version"];

/// What compose files say of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// `sha256:` and 64 hexadecimal digits.
    pub digest: String,
    /// A part of it stands elsewhere: in variables, or in files of them.
    pub depends_on_environment: bool,
    /// It is started only where one of its profiles is asked for.
    pub has_profiles: bool,
}

/// What the files of a project say of a service, without its image and its privileges.
///
/// # Errors
///
/// It extends what is not there, or its aliases stand for more than anybody writes.
pub fn definition(project: &Project, service: &str) -> Result<Definition, Unusable> {
    let mut all = String::new();
    let (mut depends_on_environment, mut has_profiles) = (false, false);
    let mut files = BTreeSet::new();
    for layer in project.layers(service)? {
        let source = project.source(layer.file);
        let mut body = Data::of(&layer.body, source)?;
        depends_on_environment |= is_from_environment(&body);
        has_profiles |= body.get("profiles").is_some();
        body.remove(&TOLD);
        without_new_privileges(&mut body);
        write(&body, &mut all);
        files.insert(layer.file);
    }
    for file in files {
        let mut root = Data::of(&project.document(file).root, project.source(file))?;
        root.remove(&OUTSIDE);
        if let Data::Mapping(entries) = &mut root {
            entries.retain(|(key, _)| !is_extension(key));
        }
        depends_on_environment |= has_variables(&root);
        write(&root, &mut all);
    }
    let digest = Hash::hash(all.as_bytes());
    let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Definition {
        digest: format!("sha256:{digits}"),
        depends_on_environment,
        has_profiles,
    })
}

/// Takes out of a service's body what it says of new privileges.
fn without_new_privileges(body: &mut Data) {
    let Some(Data::Sequence(options)) = body.get_mut("security_opt") else {
        return;
    };
    options.retain(
        |option| !matches!(option, Data::Scalar(text, ..) if no_new_privileges(text).is_some()),
    );
    if options.is_empty() {
        body.remove(&["security_opt"]);
    }
}

fn is_extension(key: &Data) -> bool {
    matches!(key, Data::Scalar(text, ..) if text.starts_with("x-"))
}

/// Whether the environment that compose is called in, or a file of variables, has a part in a service.
fn is_from_environment(body: &Data) -> bool {
    let takes_over = match body.get("environment") {
        // A name alone takes the value of the environment that compose is called in.
        Some(Data::Sequence(items)) => items
            .iter()
            .any(|item| matches!(item, Data::Scalar(text, ..) if !text.contains('='))),
        Some(Data::Mapping(entries)) => entries
            .iter()
            .any(|(_, value)| matches!(value, Data::Scalar(text, true, _) if text.is_empty() || text == "null" || text == "~")),
        _ => false,
    };
    takes_over || body.get("env_file").is_some() || has_variables(body)
}

/// Whether there is a `$` that is not written twice.
fn has_variables(data: &Data) -> bool {
    match data {
        Data::Scalar(text, ..) => text.replace("$$", "").contains('$'),
        Data::Sequence(items) => items.iter().any(has_variables),
        Data::Mapping(entries) => entries
            .iter()
            .any(|(key, value)| has_variables(key) || has_variables(value)),
    }
}

/// Writes data so that no two that differ are written alike, but in the order of keys.
fn write(data: &Data, out: &mut String) {
    match data {
        Data::Scalar(text, plain, tag) => {
            let kind = if *plain { 'p' } else { 'q' };
            let tag = tag.as_deref().unwrap_or_default();
            out.push_str(&format!("{kind}{}:{tag}{}:{text}", tag.len(), text.len()));
        }
        Data::Sequence(items) => {
            out.push_str(&format!("s{}:", items.len()));
            for item in items {
                write(item, out);
            }
        }
        Data::Mapping(entries) => {
            let mut written: Vec<String> = entries
                .iter()
                .map(|(key, value)| {
                    let mut entry = String::new();
                    write(key, &mut entry);
                    write(value, &mut entry);
                    entry
                })
                .collect();
            written.sort();
            out.push_str(&format!("m{}:{}", written.len(), written.concat()));
        }
    }
}
