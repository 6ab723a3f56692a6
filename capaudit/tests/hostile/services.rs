//! Compose files made up in every style that people write them in, so that most are valid.

use proptest::{collection::vec, prelude::*};

/// What services are called.
pub(crate) const NAMES: [&str; 4] = ["web", "db", "app", "o'ther svc"];

const ITEMS: [&str; 12] = [
    "CHOWN",
    "CAP_KILL",
    "net_raw",
    "\"SETUID\"",
    "'SYS_ADMIN'",
    "ALL",
    "all",
    "NOPE",
    "NET_BIND_SERVICE",
    "*one",
    "&two MKNOD",
    "!!str FOWNER",
];
const OPTIONS: [&str; 6] = [
    "no-new-privileges:true",
    "\"no-new-privileges:false\"",
    "no-new-privileges",
    "no-new-privileges=true",
    "seccomp:x.json",
    "apparmor=x",
];
const COMMENTS: [&str; 4] = ["", " # why", " # capaudit:allow KILL x", "   #"];

/// The text of a file.
pub(crate) fn file() -> impl Strategy<Value = String> {
    vec(any::<u32>(), 64..=64).prop_map(|dice| {
        Writer {
            dice,
            next: 0,
            out: String::new(),
        }
        .file()
    })
}

struct Writer {
    dice: Vec<u32>,
    next: usize,
    out: String,
}

impl Writer {
    fn roll(&mut self, sides: usize) -> usize {
        self.next += 1;
        let turns = (self.next / self.dice.len()) as u32;
        self.dice[self.next % self.dice.len()].rotate_left(turns * 5) as usize % sides
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.roll(from.len())]
    }

    fn line(&mut self, indent: usize, text: &str) {
        let comment = self.pick(&COMMENTS);
        self.out
            .push_str(&format!("{:indent$}{text}{comment}\n", ""));
        match self.roll(16) {
            0 => self.out.push('\n'),
            1 => self.out.push_str(&format!("{:indent$}# alone\n", "")),
            2 => self.out.push_str("# at the margin\n"),
            _ => {}
        }
    }

    fn file(mut self) -> String {
        self.line(0, "x-one: &one SETGID");
        self.line(0, "x-caps: &caps [CHOWN, KILL]");
        self.line(0, "x-base: &base");
        self.entries(2, false);
        self.line(2, "restart: always");
        let quoted = |name: &str| {
            if name.contains(' ') {
                format!("\"{name}\"")
            } else {
                name.to_owned()
            }
        };
        if self.roll(8) == 0 {
            // All in one line, or nearly.
            let bodies: Vec<String> = NAMES
                .iter()
                .map(|name| format!("{}: {}", quoted(name), self.flow_body()))
                .collect();
            let line = format!("services: {{{}}}", bodies.join(", "));
            self.line(0, &line);
        } else {
            self.line(0, "services:");
            let indent = [1, 2, 4][self.roll(3)];
            let first = self.roll(NAMES.len());
            for number in 0..=self.roll(3) {
                let name = NAMES[(first + number) % NAMES.len()];
                self.service(indent, &quoted(name), number > 0, &quoted(NAMES[first]));
            }
        }
        if self.roll(2) == 0 {
            self.line(0, "volumes: {data: {}}");
        }
        let mut text = self.out.clone();
        if self.roll(4) == 0 {
            text = text.replace('\n', "\r\n");
        }
        if self.roll(4) == 0 {
            text.truncate(text.trim_end().len());
        }
        if self.roll(16) == 0 {
            text.insert(0, '\u{feff}');
        }
        text
    }

    fn service(&mut self, indent: usize, name: &str, is_later: bool, other: &str) {
        match self.roll(16) {
            0 => return self.line(indent, &format!("{name}:")),
            1 => return self.line(indent, &format!("{name}: ~")),
            2 => {
                let body = self.flow_body();
                return self.line(indent, &format!("{name}: {body}"));
            }
            3 => return self.line(indent, &format!("{name}: *base")),
            4 => self.line(indent, &format!("{name}: &a{}", self.next)),
            5 => self.line(indent, &format!("{name}: !!map")),
            _ => self.line(indent, &format!("{name}:")),
        }
        let inner = indent + [1, 2, 4][self.roll(3)];
        match self.roll(6) {
            0 => self.line(inner, "<<: *base"),
            1 => self.line(inner, "<<: [*base, {image: y}]"),
            2 if is_later => self.line(inner, &format!("extends: {other}")),
            _ => {}
        }
        self.line(inner, "image: x:1");
        self.entries(inner, true);
        match self.roll(4) {
            0 => self.line(inner, "command: >\n      cap_add: [ALL]\n      - x"),
            1 => self.line(inner, "ports: ['80:80',\n        \"81:81\"]"),
            _ => {}
        }
    }

    fn entries(&mut self, indent: usize, anchors: bool) {
        let first = self.roll(3);
        for number in 0..3 {
            let (key, items): (&str, &[&str]) = [
                ("cap_add", &ITEMS[..]),
                ("cap_drop", &ITEMS[..]),
                ("security_opt", &OPTIONS[..]),
            ][(first + number) % 3];
            self.list(indent, key, items, anchors);
        }
        match self.roll(8) {
            0 => self.line(indent, "privileged: true"),
            1 => self.line(indent, "privileged: false"),
            2 => self.line(indent, "privileged: 'true'"),
            3 => self.line(indent, "privileged: yes"),
            _ => {}
        }
    }

    fn item<'a>(&mut self, items: &[&'a str], anchors: bool) -> &'a str {
        let item = self.pick(items);
        if item.starts_with('*') && !anchors {
            items[0]
        } else {
            item
        }
    }

    fn list(&mut self, indent: usize, key: &str, items: &[&str], anchors: bool) {
        match self.roll(12) {
            0..=3 => {}
            4 => self.line(indent, &format!("{key}: []")),
            5 => self.line(indent, &format!("{key}:")),
            6 if anchors && key != "security_opt" => self.line(indent, &format!("{key}: *caps")),
            7 | 8 => {
                let list = self.flow_list(items, anchors);
                self.line(indent, &format!("{key}: {list}"));
            }
            _ => {
                self.line(indent, &format!("{key}:"));
                let dash = indent + [0, 0, 2, 4][self.roll(4)];
                for _ in 0..=self.roll(3) {
                    let item = self.item(items, anchors);
                    self.line(dash, &format!("- {item}"));
                }
            }
        }
    }

    fn flow_list(&mut self, items: &[&str], anchors: bool) -> String {
        let members: Vec<&str> = (0..self.roll(4))
            .map(|_| self.item(items, anchors))
            .collect();
        let separator = self.pick(&[", ", ",", " , "]);
        format!("[{}]", members.join(separator))
    }

    fn flow_body(&mut self) -> String {
        let mut entries = vec!["image: x".to_owned()];
        if self.roll(2) == 0 {
            entries.push(format!("cap_add: {}", self.flow_list(&ITEMS, true)));
        }
        if self.roll(2) == 0 {
            entries.push(format!("cap_drop: {}", self.flow_list(&ITEMS, true)));
        }
        if self.roll(4) == 0 {
            entries.push("privileged: true".to_owned());
        }
        format!("{{{}}}", entries.join(", "))
    }
}
