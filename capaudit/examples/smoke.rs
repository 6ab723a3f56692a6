use capaudit::probe::*;
fn main() {
    let t0 = std::time::Instant::now();
    let hook = std::env::var("HOOK").ok().map(|h| h.parse().unwrap());
    let mut t = match Tracer::start(&Settings {
        hook,
        ..Settings::default()
    }) {
        Ok(t) => t,
        Err(e) => {
            println!("{e}");
            println!("{e:?}");
            return;
        }
    };
    println!("started {:?} {:?}", t.hook(), t0.elapsed());
    let syms = symbols::Symbols::of_running_kernel().unwrap();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let mut c = t
        .following_children(|| {
            std::process::Command::new(&args[0])
                .args(&args[1..])
                .spawn()
        })
        .unwrap();
    c.wait().unwrap();
    t.drain(10000, |e| match e {
        Event::Check(c) => {
            println!(
                "CHECK cap {} flags {:x} sys {:?} image {:x} t {} c {} obj {} {:?} stack {:?}",
                c.key.capability,
                c.key.flags,
                syscall_name(c.key.syscall),
                c.key.image,
                c.key.target_ns,
                c.key.cred_ns,
                c.object_kind,
                String::from_utf8_lossy(&c.object[..(c.object_len as usize).min(60)]),
                c.stack[..c.depth as usize]
                    .iter()
                    .map(|a| syms.name(*a).unwrap_or("?"))
                    .collect::<Vec<_>>()
            );
        }
        Event::Exec(e) => println!(
            "EXEC {:x} prev {:x} {} {:?} {:?} {:?}",
            e.header.image,
            e.previous,
            String::from_utf8_lossy(decode::until_nul(&e.path)),
            e.namespaces,
            e.sets,
            e.cgroups
                .map(|c| String::from_utf8_lossy(decode::until_nul(&c)).to_string())
        ),
        Event::Fork(f) => println!(
            "FORK {:x} parent {:x} {}",
            f.header.image,
            f.parent,
            String::from_utf8_lossy(decode::until_nul(&f.comm))
        ),
        Event::Adopt(f) => println!(
            "ADOPT {:x} {:?} {}",
            f.header.image,
            f.namespaces,
            String::from_utf8_lossy(decode::until_nul(&f.comm))
        ),
        Event::Exit(f) => println!("EXIT {:x} {}", f.header.image, f.status),
        Event::Result(r) => println!("RESULT {:x} {} {}", r.header.image, r.call, r.value),
        Event::Call(r) => println!(
            "CALL {:x} {:?} {}",
            r.header.image,
            syscall_name(r.key.syscall),
            r.value
        ),
    });
    println!("{:?} {:?}", t.losses(), t.checks().unwrap().len());
}
