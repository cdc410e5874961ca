//! Log records as protobuf and JSON.

use super::record::Record;
use crate::export::otlp_json;
use crate::json;
use crate::otlp::encode::{Item, attributes, nanos, request, scope, value};
use crate::otlp::settings::Encoding;
use crate::otlp::wire::Message;
use crate::{Attribute, Resource};

impl Item for Record {
    const METHOD: &'static str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";

    fn encode(encoding: Encoding, resource: &Resource, batch: &[&Self]) -> Vec<u8> {
        match encoding {
            Encoding::Json => as_json(resource, batch).into_bytes(),
            Encoding::Protobuf => request(resource, |resource_logs| {
                for records in by_target(batch) {
                    resource_logs.message(2, |scope_logs| {
                        scope(scope_logs, &records[0].target, "");
                        for record in records {
                            scope_logs.message(2, |message| write(message, record));
                        }
                    });
                }
            }),
        }
    }
}

/// Groups records, whose scope is their target, without changing the order among those of one target.
fn by_target<'a>(batch: &[&'a Record]) -> Vec<Vec<&'a Record>> {
    let mut records = batch.to_vec();
    records.sort_by(|a, b| a.target.cmp(&b.target));
    records
        .chunk_by(|a, b| a.target == b.target)
        .map(<[_]>::to_vec)
        .collect()
}

fn write(message: &mut Message<'_>, record: &Record) {
    let (number, name) = record.severity();
    let time = nanos(record.time);
    message.fixed64(1, time);
    message.uint(2, number);
    message.text(3, name);
    if let Some(body) = &record.body {
        value(message, 5, body);
    }
    attributes(message, 6, &record.attributes);
    message.uint(7, record.dropped_attributes.into());
    if let Some((trace, span)) = record.context.trace_id().zip(record.context.span_id()) {
        message.fixed32(8, record.context.flags().to_wire().into());
        message.bytes(9, &trace.get().to_be_bytes());
        message.bytes(10, &span.get().to_be_bytes());
    }
    message.fixed64(11, time); // seen when it was made
}

fn as_json(resource: &Resource, batch: &[&Record]) -> String {
    let mut out = String::from(r#"{"resourceLogs":[{"resource":{"#);
    otlp_json::attributes(&mut out, resource.attributes());
    out.push_str(r#"},"scopeLogs":["#);
    otlp_json::list(&mut out, &by_target(batch), |out, records| {
        out.push_str(r#"{"scope":{"name":"#);
        json::string(out, &records[0].target);
        out.push_str(r#"},"logRecords":["#);
        otlp_json::list(out, records, |out, record| record_as_json(out, record));
        out.push_str("]}");
    });
    out.push_str("]}]}");
    out
}

fn record_as_json(out: &mut String, record: &Record) {
    let (number, name) = record.severity();
    out.push_str(r#"{"severityNumber":"#);
    json::plain(out, number);
    out.push_str(r#","severityText":""#);
    out.push_str(name);
    out.push('"');
    otlp_json::time(out, "timeUnixNano", record.time);
    otlp_json::time(out, "observedTimeUnixNano", record.time);
    if let Some(body) = &record.body {
        out.push_str(r#","body":{"#);
        otlp_json::value(out, body);
        out.push('}');
    }
    let given: &[Attribute] = &record.attributes;
    if !given.is_empty() {
        out.push(',');
        otlp_json::attributes(out, given);
    }
    otlp_json::count(out, "droppedAttributesCount", record.dropped_attributes);
    if let Some((trace, span)) = record.context.trace_id().zip(record.context.span_id()) {
        out.push_str(r#","traceId":""#);
        json::plain(out, trace);
        out.push_str(r#"","spanId":""#);
        json::plain(out, span);
        out.push('"');
        otlp_json::count(out, "flags", record.context.flags().to_wire().into());
    }
    out.push('}');
}
