//! What the indexes count, as families with names.

use waggle_telemetry::metrics::Families;
use waggle_vector::{VectorIndexes, VectorSnapshot};

/// Tells what they count.
pub(crate) fn tell(indexes: &dyn VectorIndexes, families: &mut Families) {
    let snapshot = indexes.metrics();
    operations(&snapshot, families);
    memory(&snapshot, families);
    families
        .histogram(
            "waggle_vector_sync_duration_seconds",
            "Flushes of indexes to the device, each of all changes that had gathered",
        )
        .add(&[], snapshot.flushes);
}

fn operations(snapshot: &VectorSnapshot, families: &mut Families) {
    for one in &snapshot.operations {
        if one.durations.count() == 0 {
            continue;
        }
        let operation = one.operation.name();
        let labels = |outcome| [("operation", operation), ("outcome", outcome)];
        families
            .counter("waggle_vector_operations_total", "Operations on indexes")
            .add(&labels("ok"), one.succeeded)
            .add(&labels("refused"), one.refused)
            .add(&labels("failed"), one.failed)
            .add(&labels("damaged"), one.damaged);
        families
            .histogram(
                "waggle_vector_operation_duration_seconds",
                "Until an operation on an index was answered; of a change, until it was durable",
            )
            .add(&[("operation", operation)], one.durations.clone());
    }
}

fn memory(snapshot: &VectorSnapshot, families: &mut Families) {
    let gauges = [
        ("waggle_vector_loaded_indexes", "Indexes in memory", snapshot.loaded_indexes),
        ("waggle_vector_loaded_chunks", "Chunks that are found in them", snapshot.loaded_chunks),
        ("waggle_vector_memory_bytes", "About how much memory they take", snapshot.memory_bytes),
    ];
    for (name, help, value) in gauges {
        families.gauge(name, help).add(&[], i64::try_from(value).unwrap_or(i64::MAX));
    }
    let counters = [
        ("waggle_vector_loads_total", "Indexes that were read into memory", snapshot.loads),
        ("waggle_vector_evictions_total", "Indexes that made room for others", snapshot.evictions),
        (
            "waggle_vector_merges_total",
            "Parts of indexes that were merged in the background",
            snapshot.merges,
        ),
    ];
    for (name, help, value) in counters {
        families.counter(name, help).add(&[], value);
    }
}
