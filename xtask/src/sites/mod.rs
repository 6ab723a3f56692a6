//! `cargo xtask sites`: which functions of a kernel's sources ask for a capability, beside the table of capaudit-core.

mod scan;

use std::{collections::BTreeSet, path::PathBuf};

use anyhow::{Context as _, Result, bail};
use capaudit_core::{
    capability::Release,
    kernel::{Reported, Site, layers, sites},
};

use scan::{Asks, Seen, Sites};

/// Compare the table of functions that ask for capabilities with a kernel's sources: what it does not know, what is gone,
/// what has moved to another file. Fails if there is any
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Root of the kernel's source tree
    #[arg(long, value_name = "DIR")]
    source: PathBuf,

    /// Release of the kernel, as 7.2: rows of others are left out
    #[arg(long, value_name = "RELEASE")]
    release: String,

    /// List every function that asks, as rows of the table whose effects are to be judged
    #[arg(long)]
    rows: bool,
}

/// What a container meets: no drivers but those behind devices, sockets and files that containers are given or can make, no
/// file systems of clusters, foreign systems and flash chips, no protocols of hardware that is not there.
const SCOPE: scan::Scope = scan::Scope {
    within: &[
        "arch/x86",
        "block",
        "crypto",
        "fs",
        "include/linux",
        "include/net",
        "init",
        "io_uring",
        "ipc",
        "kernel",
        "lib",
        "mm",
        "net",
        "security",
        "virt",
        "drivers/android",
        "drivers/ata/libata-scsi.c",
        "drivers/base",
        "drivers/block/loop.c",
        "drivers/block/nbd.c",
        "drivers/bluetooth",
        "drivers/cdrom",
        "drivers/char/hpet.c",
        "drivers/char/mem.c",
        "drivers/char/random.c",
        "drivers/char/tpm",
        "drivers/connector",
        "drivers/cpuidle",
        "drivers/firmware/dmi-sysfs.c",
        "drivers/firmware/efi",
        "drivers/hid",
        "drivers/hv/mshv_vtl_main.c",
        "drivers/infiniband/core",
        "drivers/input",
        "drivers/iommu/iommufd",
        "drivers/md/dm-ioctl.c",
        "drivers/md/dm.c",
        "drivers/md/md.c",
        "drivers/net/bonding/bond_main.c",
        "drivers/net/ipvlan",
        "drivers/net/macvlan.c",
        "drivers/net/ppp",
        "drivers/net/tap.c",
        "drivers/net/tun.c",
        "drivers/net/veth.c",
        "drivers/net/vxlan",
        "drivers/net/wireguard",
        "drivers/nvme/host",
        "drivers/pci/pci-sysfs.c",
        "drivers/pci/pcie",
        "drivers/pci/proc.c",
        "drivers/pci/syscall.c",
        "drivers/powercap",
        "drivers/ptp",
        "drivers/rtc/dev.c",
        "drivers/scsi/scsi_error.c",
        "drivers/scsi/scsi_ioctl.c",
        "drivers/scsi/scsi_sysfs.c",
        "drivers/scsi/sd.c",
        "drivers/scsi/sg.c",
        "drivers/scsi/sr.c",
        "drivers/scsi/st.c",
        "drivers/target/target_core_user.c",
        "drivers/thermal/thermal_netlink.c",
        "drivers/tty/n_gsm.c",
        "drivers/tty/serial/8250",
        "drivers/tty/serial/serial_core.c",
        "drivers/tty/tty_io.c",
        "drivers/tty/tty_ioctl.c",
        "drivers/tty/tty_jobctrl.c",
        "drivers/tty/tty_ldisc.c",
        "drivers/tty/vt",
        "drivers/usb/core",
        "drivers/vdpa",
        "drivers/vfio",
        "drivers/vhost",
        "drivers/video/fbdev/core",
        "drivers/virt",
        "drivers/xen/xenbus",
    ],
    without: &[
        "fs/bcachefs",
        "fs/dlm",
        "fs/gfs2",
        "fs/hfsplus",
        "fs/hpfs",
        "fs/jffs2",
        "fs/jfs",
        "fs/nilfs2",
        "fs/ntfs",
        "fs/ntfs3",
        "fs/ocfs2",
        "fs/orangefs",
        "fs/reiserfs",
        "fs/ubifs",
        "fs/ufs",
        "net/appletalk",
        "net/atm",
        "net/ax25",
        "net/bluetooth",
        "net/caif",
        "net/can",
        "net/dcb",
        "net/ieee802154",
        "net/lapb",
        "net/llc",
        "net/mctp",
        "net/netrom",
        "net/nfc",
        "net/phonet",
        "net/qrtr",
        "net/rose",
        "net/x25",
    ],
};

pub(crate) fn run(args: &Args) -> Result<()> {
    let release =
        Release::parse(&args.release).context("a release begins with two numbers, as 7.2")?;
    let found = scan::scan(&args.source, &SCOPE, layers())?;
    if args.rows {
        for (asks, seen) in &found {
            println!("{}", row(asks, seen));
        }
        return Ok(());
    }
    let known: Vec<&Site> = sites()
        .iter()
        .filter(|site| site.may_be_in(release))
        .collect();
    let differences = compare(&known, &found);
    for line in &differences {
        println!("{line}");
    }
    println!(
        "{} functions ask, {} rows, {} differences",
        found.len(),
        known.len(),
        differences.len()
    );
    if !differences.is_empty() {
        bail!("the table is not that of these sources: docs/internals/sites.md says what to do");
    }
    Ok(())
}

/// The row that a function would have.
fn row(asks: &Asks, seen: &Seen) -> String {
    let seen_as: Vec<&str> = seen.seen_as.iter().map(String::as_str).collect();
    let audit = match (seen.audit, seen.noaudit) {
        (true, true) => "both",
        (_, true) => "noaudit",
        _ => "audit",
    };
    let row = format!(
        "{} | {} | {} | {audit} | .. | unknown | none: not written | {}",
        asks.function,
        asks.file,
        asks.capability,
        seen_as.join(" ")
    );
    row.trim_end().to_owned()
}

/// What the table and the sources do not have in common, a line each.
fn compare(known: &[&Site], found: &Sites) -> Vec<String> {
    let key = |site: &Site| Asks {
        file: site.file.to_owned(),
        function: site.function.to_owned(),
        capability: site.capability.map_or("?", |one| one.name()).to_owned(),
    };
    let keys: BTreeSet<Asks> = known.iter().map(|site| key(site)).collect();
    let same = |one: &Asks, other: &Asks| {
        one.function == other.function && one.capability == other.capability
    };
    let mut lines = Vec::new();
    for (asks, seen) in found {
        let rows: Vec<&&Site> = known.iter().filter(|site| key(site) == *asks).collect();
        if rows.is_empty() {
            let moved = keys
                .iter()
                .find(|row| same(row, asks) && !found.contains_key(*row));
            lines.push(match moved {
                Some(row) => format!(
                    "moved: {} ({}) from {} to {}",
                    asks.function, asks.capability, row.file, asks.file
                ),
                None => format!("new: {}", row(asks, seen)),
            });
            continue;
        }
        let reported = |which: &[Reported]| rows.iter().any(|site| which.contains(&site.reported));
        if seen.audit && !reported(&[Reported::Yes, Reported::Both])
            || seen.noaudit && !reported(&[Reported::No, Reported::Both])
        {
            lines.push(format!("reported otherwise: {}", row(asks, seen)));
        }
    }
    for asks in keys.iter().filter(|asks| !found.contains_key(*asks)) {
        if !found
            .keys()
            .any(|other| same(asks, other) && !keys.contains(other))
        {
            lines.push(format!(
                "gone: {} ({}) in {}",
                asks.function, asks.capability, asks.file
            ));
        }
    }
    lines
}

#[cfg(test)]
mod tests;
