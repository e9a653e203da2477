//! The contract of `Kv` as checks: every implementation passes the same ones.

use std::ops::ControlFlow;

use crate::kv::{Kv, KvRead, Table, WriteBatch};

/// Runs every check, each on an empty map from `make`. Panics on the first broken clause.
pub fn check<K: Kv>(make: impl Fn() -> K) {
    a_batch_is_visible_whole(&make());
    tables_are_apart(&make());
    scans_are_ordered_and_bounded(&make());
    a_view_never_changes(&make());
    later_writes_win(&make());
    empty_keys_and_values_are_kept(&make());
    a_deleted_once_key_may_be_put_again(&make());
}

/// All pairs of `from..to`, in the order the scan gave them.
pub fn collect(kv: &dyn KvRead, table: Table, from: &[u8], to: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut pairs = Vec::new();
    kv.scan(table, from, to, &mut |key, value| {
        pairs.push((key.to_vec(), value.to_vec()));
        ControlFlow::Continue(())
    })
    .expect("scan");
    pairs
}

fn put(kv: &impl Kv, table: Table, key: &[u8], value: &[u8]) {
    let mut batch = WriteBatch::default();
    batch.put(table, key, value);
    kv.write(batch).expect("write");
}

fn a_batch_is_visible_whole(kv: &impl Kv) {
    let mut batch = WriteBatch::default();
    batch.put(Table::Row, "a", "1");
    batch.put(Table::Body, "b", "2");
    kv.write(batch).expect("write");
    assert_eq!(kv.get(Table::Row, b"a").expect("get").as_deref(), Some(&b"1"[..]));
    assert_eq!(kv.get(Table::Body, b"b").expect("get").as_deref(), Some(&b"2"[..]));
}

fn tables_are_apart(kv: &impl Kv) {
    for (number, table) in Table::ALL.into_iter().enumerate() {
        put(kv, table, b"k", &[number as u8]);
    }
    for (number, table) in Table::ALL.into_iter().enumerate() {
        assert_eq!(kv.get(table, b"k").expect("get"), Some(vec![number as u8]));
        assert_eq!(collect(kv, table, b"", b"\xff").len(), 1);
    }
}

fn scans_are_ordered_and_bounded(kv: &impl Kv) {
    for key in [&b"b"[..], b"a", b"\xff\xff", b"ab", b"c"] {
        put(kv, Table::Index, key, b"");
    }
    let keys = |from: &[u8], to: &[u8]| -> Vec<Vec<u8>> {
        collect(kv, Table::Index, from, to).into_iter().map(|(key, _)| key).collect()
    };
    assert_eq!(keys(b"", b"\xff\xff\xff"), [&b"a"[..], b"ab", b"b", b"c", b"\xff\xff"]);
    assert_eq!(keys(b"ab", b"c"), [&b"ab"[..], b"b"]);
    assert!(keys(b"c", b"a").is_empty());
    let mut seen = 0;
    kv.scan(Table::Index, b"", b"\xff", &mut |_, _| {
        seen += 1;
        if seen == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
    .expect("scan");
    assert_eq!(seen, 2);
}

fn a_view_never_changes(kv: &impl Kv) {
    put(kv, Table::Row, b"a", b"1");
    let view = kv.view();
    put(kv, Table::Row, b"a", b"2");
    put(kv, Table::Row, b"b", b"2");
    assert_eq!(view.get(Table::Row, b"a").expect("get").as_deref(), Some(&b"1"[..]));
    assert_eq!(collect(&view, Table::Row, b"", b"z").len(), 1);
    assert_eq!(kv.get(Table::Row, b"a").expect("get").as_deref(), Some(&b"2"[..]));
}

fn later_writes_win(kv: &impl Kv) {
    let mut batch = WriteBatch::default();
    batch.put(Table::Row, "a", "1");
    batch.delete(Table::Row, "a");
    batch.put(Table::Row, "b", "1");
    batch.put(Table::Row, "b", "2");
    batch.delete(Table::Row, "missing");
    kv.write(batch).expect("write");
    assert_eq!(collect(kv, Table::Row, b"", b"z"), [(b"b".to_vec(), b"2".to_vec())]);
}

fn empty_keys_and_values_are_kept(kv: &impl Kv) {
    put(kv, Table::Row, b"", b"");
    assert_eq!(kv.get(Table::Row, b"").expect("get"), Some(Vec::new()));
    assert_eq!(collect(kv, Table::Row, b"", b"a").len(), 1);
}

fn a_deleted_once_key_may_be_put_again(kv: &impl Kv) {
    for round in 0..3u8 {
        put(kv, Table::Body, b"a", &[round]);
        assert_eq!(kv.get(Table::Body, b"a").expect("get"), Some(vec![round]));
        kv.flush().expect("flush");
        let mut batch = WriteBatch::default();
        batch.delete_once(Table::Body, "a");
        kv.write(batch).expect("write");
        assert_eq!(kv.get(Table::Body, b"a").expect("get"), None);
    }
}
