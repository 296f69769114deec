#include "engine/plan/explain.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <xxhash.h>

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace mneme::plan {
namespace {

// "12.3 MB": three digits, powers of ten.
std::string Bytes(int64_t bytes) {
  const char* units[] = {"B", "kB", "MB", "GB", "TB"};
  double value = static_cast<double>(bytes);
  int unit = 0;
  while (value >= 999.5 && unit < 4) {
    value /= 1000;
    ++unit;
  }
  return unit == 0 ? absl::StrCat(bytes, " B") : absl::StrFormat("%.3g %s", value, units[unit]);
}

const char* TypeName(v1::ElementType type) {
  switch (type) {
    case v1::F32:
      return "f32";
    case v1::BF16:
      return "bf16";
    case v1::I32:
      return "i32";
    default:
      return "?";
  }
}

std::string LayoutName(const v1::Layout& layout) {
  switch (layout.kind()) {
    case v1::Layout::SPLIT:
      return absl::StrCat("S(", layout.axis(), ")");
    case v1::Layout::PARTIAL:
      return "P";
    default:
      return "B";
  }
}

std::string KindName(v1::OperatorKind kind) {
  std::string name = v1::OperatorKind_Name(kind);
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return name;
}

std::string RegisterText(const v1::Plan& plan, int32_t index) {
  if (index < 0) return "-";
  const v1::Register& r = plan.registers(index);
  return absl::StrCat(r.name(), " [", r.rows() == v1::Register::TOKENS ? "tokens" : "logit rows",
                      ", ", r.cols(), "] ", TypeName(r.type()));
}

std::string WeightText(const v1::Plan& plan, int32_t index) {
  const v1::Weight& w = plan.weights(index);
  return absl::StrCat(w.name(), " [", w.shape(0), ", ", w.shape(1), "] ", TypeName(w.type()), " ",
                      LayoutName(w.layout()));
}

void ExplainMemory(const v1::Plan& plan, std::string* out) {
  int64_t tables = 0;
  for (const v1::Weight& w : plan.weights()) {
    if (w.value_table() && w.shared_with().empty()) tables += w.bytes();
  }
  for (const v1::RankMemory& m : plan.memory()) {
    absl::StrAppendFormat(
        out, "rank %d holds weights %s (value tables %s), KV cache %s, registers %s\n", m.rank(),
        Bytes(m.weight_bytes()), Bytes(tables), Bytes(m.kv_bytes()), Bytes(m.arena_bytes()));
  }
}

void ExplainDecode(const v1::Plan& plan, std::string* out) {
  const DecodeBytes d = PredictDecodeBytes(plan);
  absl::StrAppendFormat(out, "a step reads dense weights %s, keys %s; ", Bytes(d.dense_weights),
                        Bytes(d.keys));
  absl::StrAppendFormat(out, "each token adds value rows %s and, per position, KV %s\n",
                        Bytes(d.value_rows_per_token), Bytes(d.kv_per_position));
}

void ExplainActor(const v1::Plan& plan, int index, std::string* out) {
  const v1::Actor& actor = plan.actors(index);
  absl::StrAppendFormat(out, "%4d  %-28s %-22s %s\n", index, actor.name(), KindName(actor.kind()),
                        actor.signature());
  std::vector<std::string> reads;
  for (int32_t input : actor.inputs()) {
    if (input >= 0) reads.push_back(RegisterText(plan, input));
  }
  for (int32_t weight : actor.weights()) {
    if (weight >= 0) reads.push_back(WeightText(plan, weight));
  }
  for (const std::string& read : reads) absl::StrAppend(out, "        reads  ", read, "\n");
  for (int32_t output : actor.outputs()) {
    if (output >= 0) absl::StrAppend(out, "        writes ", RegisterText(plan, output), "\n");
  }
}

}  // namespace

DecodeBytes PredictDecodeBytes(const v1::Plan& plan) {
  DecodeBytes d;
  for (const v1::Actor& actor : plan.actors()) {
    if (actor.kind() == v1::VALUE_GATHER) {
      const v1::Weight& table = plan.weights(actor.weights(0));
      d.value_rows_per_token +=
          actor.attributes().gather().selections() * (table.bytes() / table.shape(0));
    } else if (actor.kind() == v1::ATTENTION) {
      const v1::Attributes::Attention& a = actor.attributes().attention();
      d.kv_per_position += 2 * int64_t{a.kv_heads()} * a.head_dim() * 4;
    } else if (actor.kind() == v1::LINEAR || actor.kind() == v1::PRODUCT_KEY_CANDIDATES) {
      int64_t bytes = 0;
      for (int32_t weight : actor.weights()) {
        if (weight >= 0) bytes += plan.weights(weight).bytes();
      }
      (actor.kind() == v1::LINEAR ? d.dense_weights : d.keys) += bytes;
    }
  }
  return d;
}

std::string Explain(const v1::Plan& plan) {
  std::string out;
  const v1::Cluster& c = plan.cluster();
  const v1::StepLimits& l = plan.limits();
  absl::StrAppendFormat(&out, "plan %s of %s (%s) on %s: %d rank%s, device %s, instructions %s\n",
                        PlanHash(plan), plan.model(), plan.architecture(), c.name(), c.ranks(),
                        c.ranks() == 1 ? "" : "s", c.device(), c.isa());
  absl::StrAppendFormat(
      &out,
      "a step takes up to %d tokens of %d sequences, %d logit rows; %d positions a sequence; ",
      l.max_tokens(), l.max_sequences(), l.max_logit_rows(), l.max_positions());
  absl::StrAppendFormat(&out, "KV cache of %d blocks of %d positions\n", l.kv_blocks(),
                        l.kv_block_tokens());
  ExplainMemory(plan, &out);
  ExplainDecode(plan, &out);
  absl::StrAppend(&out, "\n", plan.actors_size(), " actors, in this order:\n");
  for (int i = 0; i < plan.actors_size(); ++i) ExplainActor(plan, i, &out);
  return out;
}

std::string PlanHash(const v1::Plan& plan) {
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    plan.SerializeToCodedStream(&coded);
  }
  return absl::StrFormat("%016x", XXH3_64bits(bytes.data(), bytes.size()));
}

}  // namespace mneme::plan
