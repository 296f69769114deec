#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/plan/plan_report.h"
#include "engine/plan/readable.h"

namespace mneme::plan {
namespace {

constexpr char kStyle[] = R"(<style>
body{font:14px/1.4 system-ui,sans-serif;margin:2em auto;max-width:72em;padding:0 1em;color:#222}
h1{font-size:1.4em}h2{font-size:1.1em;margin-top:2em}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.2em .8em .2em 0;vertical-align:top;border-bottom:1px solid #eee}
td.n{text-align:right;white-space:nowrap}code{font:12px ui-monospace,monospace}
.bar{background:#e8edf3;height:1.1em;min-width:12em;position:relative}
.bar i{position:absolute;left:0;top:0;bottom:0;background:#4878a8}
.bar i.mean{background:#27496d}
.memory{display:flex;height:1.6em;background:#e8edf3}
.memory i{display:block}
.weights{background:#4878a8}.kv{background:#c98b3c}.registers{background:#7a9a5a}
.key{display:inline-block;width:.8em;height:.8em;margin:0 .3em 0 1em}
</style>
)";

std::string Escaped(const std::string& text) {
  std::string escaped;
  for (char c : text) {
    switch (c) {
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '&':
        escaped += "&amp;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      default:
        escaped += c;
    }
  }
  return escaped;
}

std::string Percent(double part, double whole) {
  return absl::StrFormat("%.2f%%", whole > 0 ? 100 * std::min(1.0, part / whole) : 0);
}

void AppendMemory(const PlanReport& r, std::string* out) {
  const double held = r.weight_bytes + r.kv_bytes + r.register_bytes;
  const double limit =
      r.cluster.memory[0].bytes > 0 ? static_cast<double>(r.cluster.memory[0].bytes) : held;
  absl::StrAppend(out, "<h2>Memory of ", r.cluster.shared_memory ? "all ranks together" : "a rank",
                  ": ", ReadableBytes(held), " of ", ReadableBytes(limit),
                  "</h2>\n<div class=\"memory\">");
  std::string keys;
  for (const auto& [name, text, bytes] :
       {std::tuple("weights", "weights", r.weight_bytes), std::tuple("kv", "KV cache", r.kv_bytes),
        std::tuple("registers", "registers", r.register_bytes)}) {
    absl::StrAppend(out, "<i class=\"", name, "\" style=\"width:", Percent(bytes, limit),
                    "\"></i>");
    absl::StrAppend(&keys, "<span class=\"key ", name, "\"></span>", text, " ",
                    ReadableBytes(bytes));
  }
  absl::StrAppend(out, "</div>\n<p>", keys, "</p>\n");
}

void AppendSteps(const PlanReport& r, std::string* out) {
  absl::StrAppend(out,
                  "<h2>Predicted steps</h2>\n<table><tr><th>step<th>time<th>of which "
                  "exchanges<th>mean rank<th>reads<th>sends</tr>\n");
  for (const StepReport& s : r.steps) {
    absl::StrAppend(out, "<tr><td>", Escaped(s.name));
    for (const std::string& cell : {ReadableSeconds(s.seconds), ReadableSeconds(s.exchange_seconds),
                                    ReadableSeconds(s.mean_seconds), ReadableBytes(s.read_bytes),
                                    ReadableBytes(s.sent_bytes)}) {
      absl::StrAppend(out, "<td>", cell);
    }
    absl::StrAppend(out, "</tr>\n");
  }
  absl::StrAppend(out, "</table>\n");
}

void AppendOperators(const PlanReport& r, std::string* out) {
  double most = 0;
  for (const OperatorReport& o : r.operators) {
    most = std::max(most, o.seconds * static_cast<double>(o.times));
  }
  absl::StrAppend(out,
                  "<h2>Operators of a decode step</h2>\n<p>Light: the fullest rank, dark: the "
                  "mean rank.</p>\n<table><tr><th>operator<th>times<th>layout<th>time in "
                  "all<th><th>next best<th>the step would take</tr>\n");
  for (const OperatorReport& o : r.operators) {
    const double times = static_cast<double>(o.times);
    absl::StrAppend(
        out, "<tr><td>", Escaped(o.name), "<td class=\"n\">", o.times, "<td><code>",
        Escaped(o.layout), "</code><td class=\"n\">", ReadableSeconds(o.seconds * times),
        "<td><div class=\"bar\"><i style=\"width:", Percent(o.seconds * times, most),
        "\"></i><i class=\"mean\" style=\"width:", Percent(o.mean_seconds * times, most),
        "\"></i></div><td><code>", Escaped(o.runner_up), "</code><td class=\"n\">",
        o.runner_up.empty() ? "" : ReadableSeconds(o.runner_up_seconds), "</tr>\n");
  }
  absl::StrAppend(out, "</table>\n");
}

void AppendOtherLayouts(const PlanReport& r, std::string* out) {
  for (const StepReport& s : r.steps) {
    if (s.otherwise.empty()) continue;
    absl::StrAppend(out, "<h2>Divided otherwise in a ", Escaped(s.name),
                    "</h2>\n<table><tr><th>operator<th>layout</tr>\n");
    for (const OtherLayout& o : s.otherwise) {
      absl::StrAppend(out, "<tr><td>", Escaped(o.name), "<td><code>", Escaped(o.layout),
                      "</code></tr>\n");
    }
    absl::StrAppend(out, "</table>\n");
  }
}

void AppendExchanges(const PlanReport& r, std::string* out) {
  if (r.exchanges.empty()) return;
  absl::StrAppend(out,
                  "<h2>Exchanges of a decode step</h2>\n<table><tr><th>tensor<th>times<th>"
                  "kind<th>over<th>time each<th>a rank sends</tr>\n");
  for (const ExchangeReport& e : r.exchanges) {
    absl::StrAppend(out, "<tr><td>", Escaped(e.tensor), "<td>", e.times, "<td>", e.kind, "<td>",
                    Escaped(e.axis), "<td>", ReadableSeconds(e.seconds), "<td>",
                    ReadableBytes(e.bytes), "</tr>\n");
  }
  absl::StrAppend(out, "</table>\n");
}

}  // namespace

std::string ReportHtml(const PlanReport& r) {
  const std::string title = absl::StrCat(Escaped(r.model), " (", Escaped(r.architecture), ") on ",
                                         Escaped(r.cluster.name));
  std::string out =
      absl::StrCat("<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>", title,
                   "</title>\n", kStyle, "<h1>", title, "</h1>\n<p>");
  for (const Axis& axis : r.cluster.axes) {
    absl::StrAppend(&out, axis.ranks, " ", Escaped(axis.name), "; links ",
                    ReadableBytes(axis.link.bytes_per_second), "/s. ");
  }
  absl::StrAppend(&out, "A rank reads ", ReadableBytes(SpeedOf(r.cluster).bytes_per_second),
                  "/s.</p>\n");
  AppendMemory(r, &out);
  AppendSteps(r, &out);
  AppendOperators(r, &out);
  AppendOtherLayouts(r, &out);
  AppendExchanges(r, &out);
  return out + "</html>\n";
}

}  // namespace mneme::plan
