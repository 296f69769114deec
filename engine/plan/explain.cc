#include "engine/plan/explain.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <xxhash.h>

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "engine/graph/element_bytes.h"
#include "engine/plan/plan_of_rank.h"

namespace mneme::plan {
namespace {

constexpr int64_t kFloatBytes = 4;

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

// Of all weights that the actor names.
int64_t WeightBytes(const v1::Plan& plan, const v1::Actor& actor) {
  int64_t bytes = 0;
  for (int32_t weight : actor.weights()) {
    if (weight >= 0) bytes += plan.weights(weight).bytes();
  }
  return bytes;
}

// A split with its sizes by rank: "S(1) 128+128"; of a value table "S(1) 384+384 behind 128+128"
// pre-values, or "S(0) in blocks of 1024" rows.
std::string LayoutName(const v1::Layout& layout) {
  std::string name;
  switch (layout.kind()) {
    case v1::Layout::SPLIT:
      name = absl::StrCat("S(", layout.axis(), ")");
      for (const v1::Layout::Part& part : layout.parts()) {
        absl::StrAppend(&name, name.back() == ')' ? " " : "+", part.end() - part.begin());
      }
      if (layout.block() > 0) absl::StrAppend(&name, " in blocks of ", layout.block());
      if (layout.chunks() > 1) absl::StrAppend(&name, " of each of ", layout.chunks());
      for (const v1::Layout::Part& part : layout.pre_parts()) {
        absl::StrAppend(&name, part.begin() == 0 ? " behind " : "+", part.end() - part.begin());
      }
      return name;
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
  std::string text = absl::StrCat(w.name(), " [");
  if (w.stack() > 0) absl::StrAppend(&text, w.stack(), ", ");
  absl::StrAppend(&text, w.shape(0) / std::max(1, w.stack()), ", ", w.shape(1), "] ",
                  TypeName(w.type()), " ", LayoutName(w.layout()));
  if (!w.shared_with().empty()) absl::StrAppend(&text, ", the memory of ", w.shared_with());
  return text;
}

void ExplainMemory(const v1::Plan& plan, std::string* out) {
  for (const v1::RankMemory& m : plan.memory()) {
    int64_t tables = 0;
    const v1::Plan local = PlanOfRank(plan, m.rank());
    for (const v1::Weight& w : local.weights()) {
      if (w.value_table() && w.shared_with().empty()) tables += w.bytes();
    }
    absl::StrAppendFormat(
        out, "rank %d holds weights %s (value tables %s), KV cache %s, registers %s\n", m.rank(),
        Bytes(m.weight_bytes()), Bytes(tables), Bytes(m.kv_bytes()), Bytes(m.arena_bytes()));
  }
}

void ExplainDecode(const v1::Plan& plan, std::string* out) {
  for (int32_t rank = 0; rank < plan.cluster().ranks(); ++rank) {
    const DecodeBytes d = PredictDecodeBytes(PlanOfRank(plan, rank));
    absl::StrAppendFormat(out, "a decode step reads dense weights %s, keys %s",
                          Bytes(d.dense_weights), Bytes(d.keys));
    if (plan.cluster().ranks() > 1) absl::StrAppend(out, " on rank ", rank);
    absl::StrAppendFormat(out, "; each token adds dense weights %s, keys %s, value rows %s",
                          Bytes(d.dense_weights_per_token), Bytes(d.keys_per_token),
                          Bytes(d.value_rows_per_token));
    if (d.expert_weights_per_token > 0) {
      absl::StrAppend(out, ", expert weights up to ", Bytes(d.expert_weights_per_token));
    }
    absl::StrAppend(out, " and, per position, KV ", Bytes(d.kv_per_position), "\n");
  }
}

void ExplainKvCaches(const v1::Plan& plan, std::string* out) {
  absl::StrAppend(out, "\nKV cache, by layer:\n");
  for (const v1::KvCache& c : plan.kv_caches()) {
    absl::StrAppendFormat(
        out, "%4d  [blocks %d, keys and values 2, heads %d, positions %d, dim %d]", c.layer(),
        plan.limits().kv_blocks(), c.kv_heads(), plan.limits().kv_block_tokens(), c.head_dim());
    absl::StrAppend(out, " f32 ", LayoutName(c.layout()), ", ", Bytes(c.bytes()), "\n");
  }
}

void ExplainRegisters(const v1::Plan& plan, std::string* out) {
  absl::StrAppend(out, "\n", plan.registers_size(), " registers, in an arena of ",
                  plan.arena_bytes(), " bytes (offset, bytes):\n");
  for (int i = 0; i < plan.registers_size(); ++i) {
    const v1::Register& r = plan.registers(i);
    absl::StrAppendFormat(out, "%10d %10d  %s %s", r.offset(), r.slot_bytes(),
                          RegisterText(plan, i), LayoutName(r.layout()));
    if (r.slots() > 1) absl::StrAppend(out, ", ", r.slots(), " slots");
    if (i == plan.logits_register()) absl::StrAppend(out, ", sampled from");
    if (r.kept() && i != plan.logits_register()) absl::StrAppend(out, ", kept");
    absl::StrAppend(out, "\n");
  }
}

const char* LaneName(v1::Lane lane) {
  switch (lane) {
    case v1::MEMORY:
      return "memory";
    case v1::EXCHANGE:
      return "exchange";
    case v1::HOST:
      return "host";
    default:
      return "compute";
  }
}

void ExplainActor(const v1::Plan& plan, int index, std::string* out) {
  const v1::Actor& actor = plan.actors(index);
  absl::StrAppendFormat(out, "%4d  %-28s %-22s %-8s %s\n", index, actor.name(),
                        KindName(actor.kind()), LaneName(actor.lane()), actor.signature());
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

namespace {

// An actor with all that tells it from the one of that name in another program.
std::string ActorText(const v1::Plan& plan, int index) {
  std::string text;
  ExplainActor(plan, index, &text);
  const v1::Actor& actor = plan.actors(index);
  for (int32_t input : actor.inputs()) {
    if (input >= 0) absl::StrAppend(&text, LayoutName(plan.registers(input).layout()), " ");
  }
  return text.substr(text.find(actor.name()));
}

// What a program does otherwise than the one of smaller steps.
void ExplainProgram(const v1::Plan& plan, int p, std::string* out) {
  const v1::Plan before = p == 0 ? plan : PlanOfProgram(plan, p - 1);
  const v1::Plan program = PlanOfProgram(plan, p);
  std::map<std::string, std::string> known;
  for (int i = 0; i < before.actors_size(); ++i) {
    known[before.actors(i).name()] = ActorText(before, i);
  }
  absl::StrAppend(out, "\nin steps of ", plan.programs(p).from_tokens(), " tokens and more, ",
                  program.actors_size(), " actors on ", program.registers_size(),
                  " registers; these are new or have other layouts:\n");
  for (int i = 0; i < program.actors_size(); ++i) {
    const auto it = known.find(program.actors(i).name());
    if (it == known.end() || it->second != ActorText(program, i)) ExplainActor(program, i, out);
    if (it != known.end()) known.erase(it);
  }
  std::vector<std::string> gone;
  for (const v1::Actor& actor : before.actors()) {
    if (known.count(actor.name()) > 0) gone.push_back(actor.name());
  }
  if (!gone.empty())
    absl::StrAppend(out, "and these are not there: ", absl::StrJoin(gone, ", "), "\n");
}

// What falls to the rank of `bytes` of rows that any rank may have: its share of the rows. All
// ranks' are exactly `bytes` together.
int64_t ShareOfRows(const v1::Plan& plan, const v1::Weight& w, int64_t bytes) {
  const v1::Layout& layout = w.layout();
  if (layout.kind() != v1::Layout::SPLIT || layout.axis() != 0) return bytes;
  if (layout.block() > 0) {
    const int64_t ranks = plan.cluster().ranks();
    const int64_t rank = w.first_row() / layout.block();
    return bytes * (rank + 1) / ranks - bytes * rank / ranks;
  }
  const int64_t all = layout.parts(layout.parts_size() - 1).end();
  return bytes * (w.first_row() + w.shape(0)) / all - bytes * w.first_row() / all;
}

// Of a table's rows, for each token; without their padding, which is never read.
int64_t ValueRowBytes(const v1::Plan& plan, const v1::Actor& actor) {
  const v1::Attributes::Gather& a = actor.attributes().gather();
  const v1::Weight& table = plan.weights(actor.weights(0));
  const bool gather = actor.kind() == v1::VALUE_GATHER;
  const bool pre = !gather || actor.inputs(3) >= 0;
  const int64_t cols = (pre ? a.pre_width() : 0) + (gather ? a.width() : 0);
  return ShareOfRows(plan, table, a.selections() * cols * ElementBytes(table.type()));
}

}  // namespace

DecodeBytes PredictDecodeBytes(const v1::Plan& plan) {
  DecodeBytes d;
  for (const v1::Actor& actor : plan.actors()) {
    const v1::Attributes& attributes = actor.attributes();
    switch (actor.kind()) {
      case v1::EMBEDDING: {
        const v1::Weight& table = plan.weights(actor.weights(0));
        d.dense_weights_per_token +=
            ShareOfRows(plan, table, table.shape(1) * ElementBytes(table.type()));
        break;
      }
      case v1::ROPE:
        d.dense_weights_per_token += attributes.rope().head_dim() * kFloatBytes;
        break;
      case v1::LINEAR:
      case v1::RMS_NORM:
      case v1::LAYER_NORM:
        d.dense_weights += WeightBytes(plan, actor);
        break;
      case v1::PRODUCT_KEY_CANDIDATES:
      case v1::PRODUCT_KEY_MERGE:
        d.keys += WeightBytes(plan, actor);
        break;
      case v1::PRODUCT_KEY_SELECT: {
        const v1::Attributes::Select& a = attributes.select();
        if (actor.weights(0) >= 0) d.keys += plan.weights(actor.weights(0)).bytes();
        if (actor.weights(1) >= 0) d.keys_per_token += int64_t{a.heads()} * a.top_k() * 4;
        break;
      }
      case v1::VALUE_GATHER:
      case v1::PRE_SCORE:
        d.value_rows_per_token += ValueRowBytes(plan, actor);
        break;
      case v1::EXPERTS: {
        const int64_t experts = attributes.experts().experts();
        const int64_t chosen = plan.registers(actor.inputs(1)).cols();
        d.expert_weights_per_token +=
            WeightBytes(plan, actor) / experts * std::min(chosen, experts);
        break;
      }
      case v1::ATTENTION: {
        const v1::Attributes::Attention& a = attributes.attention();
        d.kv_per_position += 2 * int64_t{a.kv_heads()} * a.head_dim() * kFloatBytes;
        break;
      }
      default:
        break;
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
  ExplainKvCaches(plan, &out);
  ExplainRegisters(plan, &out);
  absl::StrAppend(&out, "\n", plan.actors_size(), " actors, in this order (name, operator, lane, ",
                  "signature):\n");
  for (int i = 0; i < plan.actors_size(); ++i) ExplainActor(plan, i, &out);
  for (int p = 0; p < plan.programs_size(); ++p) ExplainProgram(plan, p, &out);
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
