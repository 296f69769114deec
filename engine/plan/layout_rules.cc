#include "engine/plan/layout_rules.h"

#include <algorithm>
#include <bit>

#include "absl/strings/str_cat.h"
#include "engine/plan/boxing.h"
#include "engine/plan/weight_parts.h"

namespace mneme::plan {
namespace {

using graph::Graph;
using graph::Operator;
using graph::Sbp;

constexpr Sbp kLetters[] = {Sbp::B(), Sbp::S(1), Sbp::P(), Sbp::S(0)};
constexpr int kPairs = 16;  // as many as a State's character has bits

int Letter(Sbp sbp) {
  return static_cast<int>(std::find(std::begin(kLetters), std::end(kLetters), sbp) - kLetters);
}
int Pair(Sbp outer, Sbp inner) { return 4 * Letter(outer) + Letter(inner); }
Sbp LetterOf(int pair, int axis) { return kLetters[axis == kOuter ? pair / 4 : pair % 4]; }
bool Split(Sbp sbp) { return sbp.kind == Sbp::Kind::kSplit; }
char16_t Bit(int pair) { return static_cast<char16_t>(1 << pair); }

int32_t LayerOf(const Operator& op) {
  return op.kind == v1::ATTENTION ? op.attributes.attention().layer()
                                  : op.attributes.kv_append().layer();
}

int InputPair(const GridSignature& s, size_t i) {
  return Pair(s[kOuter].inputs[i], s[kInner].inputs[i]);
}

// What a slot of SeenSlot holds: of caches the layout of the keys, of selections theirs and the
// table's.
char16_t Seen(const Operator& op, const GridSignature& s) {
  if (!ReadsTable(op.kind)) return Bit(InputPair(s, 0));
  int code = InputPair(s, 0);
  for (int axis : {kOuter, kInner}) {
    const Sbp table = s[axis].weights[0];
    code = 4 * code + (table.kind == Sbp::Kind::kSplit ? 1 + table.axis : 0);
  }
  return static_cast<char16_t>(1 + code);
}

void AppendSbps(const std::vector<Sbp>& sbps, std::string* to) {
  for (Sbp sbp : sbps) {
    to->push_back(static_cast<char>('0' + static_cast<int>(sbp.kind) * 3 + sbp.axis));
  }
  to->push_back('|');
}

}  // namespace

bool WorksInPlace(v1::OperatorKind kind) { return kind == v1::ROPE || kind == v1::CLAMP; }

LayoutRules::LayoutRules(const Graph& graph, const Pricing& pricing, const GridOptions& options)
    : graph_(graph), pricing_(pricing), options_(options) {
  FindLiveSlots();
  FindPlaces();
  for (size_t i = 0; i < graph.operators.size(); ++i) {
    keys_.push_back(KeyOf(i));
    const auto [it, inserted] = price_of_key_.try_emplace(keys_.back());
    if (inserted) {
      for (const GridSignature& option : options[i]) {
        it->second.push_back(pricing.PriceOf(graph.operators[i], option));
      }
    }
    prices_.push_back(&it->second);
  }
}

int32_t LayoutRules::SeenSlot(const Operator& op) const {
  const auto tensors = static_cast<int32_t>(graph_.tensors.size());
  if (op.kind == v1::ATTENTION || op.kind == v1::KV_APPEND) return tensors + LayerOf(op);
  if (ReadsTable(op.kind)) return tensors + static_cast<int32_t>(layers_) + op.inputs[0];
  return -1;
}

void LayoutRules::FindLiveSlots() {
  const int32_t count = static_cast<int32_t>(graph_.operators.size());
  const size_t tensors = graph_.tensors.size();
  for (const graph::KvLayer& kv : graph_.kv_layers) {
    layers_ = std::max(layers_, static_cast<size_t>(kv.layer) + 1);
  }
  producer_.assign(2 * tensors + layers_, -1);
  std::vector<int32_t> last_use(producer_.size(), -1);
  for (int32_t i = 0; i < count; ++i) {
    const Operator& op = graph_.operators[i];
    for (int32_t input : op.inputs) {
      if (input >= 0) last_use[input] = i;
    }
    for (int32_t output : op.outputs) {
      if (output >= 0) producer_[output] = i;
    }
    if (const int32_t slot = SeenSlot(op); slot >= 0) {
      if (producer_[slot] < 0) producer_[slot] = i;
      last_use[slot] = i;
    }
  }
  last_use[graph_.logits] = count;
  live_.resize(count + 1);
  for (int32_t i = 0; i < count; ++i) {
    const Operator& op = graph_.operators[i];
    for (int32_t slot : live_[i]) {
      if (last_use[slot] > i) live_[i + 1].push_back(slot);
    }
    const auto add = [&](int32_t slot) {
      if (slot >= 0 && last_use[slot] > i) live_[i + 1].push_back(slot);
    };
    for (int32_t output : op.outputs) add(output);
    if (const int32_t slot = SeenSlot(op); slot >= 0 && producer_[slot] == i) add(slot);
  }
}

void LayoutRules::FindPlaces() {
  const int32_t tensors = static_cast<int32_t>(graph_.tensors.size());
  for (size_t i = 0; i < graph_.operators.size(); ++i) {
    const Operator& op = graph_.operators[i];
    const auto place = [&](int32_t slot) {
      const auto it = std::find(live_[i].begin(), live_[i].end(), slot);
      return it == live_[i].end() ? -1 : static_cast<int32_t>(it - live_[i].begin());
    };
    Step step;
    for (int32_t input : op.inputs) {
      step.inputs.push_back(input < 0 ? -1 : place(input));
      const std::vector<int32_t>& after = live_[i + 1];
      step.last.push_back(std::find(after.begin(), after.end(), input) == after.end());
    }
    if (const int32_t slot = SeenSlot(op); slot >= 0) step.seen = place(slot);
    for (int32_t slot : live_[i + 1]) {
      if (const int32_t before = place(slot); before >= 0) {
        step.survivors.push_back(before);
      } else if (slot >= tensors) {
        step.survivors.push_back(kSeen);
      } else {
        const auto it = std::find(op.outputs.begin(), op.outputs.end(), slot);
        step.survivors.push_back(-1 - static_cast<int32_t>(it - op.outputs.begin()));
      }
    }
    std::string text = absl::StrCat(step.seen);
    for (int32_t p : step.inputs) absl::StrAppend(&text, ",", p);
    for (int32_t p : step.survivors) absl::StrAppend(&text, ";", p);
    places_.push_back(text);
    steps_.push_back(std::move(step));
  }
}

std::string LayoutRules::KeyOf(size_t i) const {
  const Operator& op = graph_.operators[i];
  v1::Attributes attributes = op.attributes;
  if (attributes.has_attention()) attributes.mutable_attention()->clear_layer();
  if (attributes.has_kv_append()) attributes.mutable_kv_append()->clear_layer();
  if (attributes.has_select()) attributes.mutable_select()->clear_offset();
  std::string key = absl::StrCat(static_cast<int>(op.kind), "|", attributes.SerializeAsString());
  for (int32_t input : op.inputs) {
    if (input < 0) {
      key += "-";
      continue;
    }
    absl::StrAppend(&key, "|", static_cast<int64_t>(i) - producer_[input], "x",
                    graph_.tensors[input].cols, "x", static_cast<int>(graph_.tensors[input].rows));
  }
  for (int32_t output : op.outputs) {
    absl::StrAppend(&key, ">", output < 0 ? -1 : graph_.tensors[output].cols);
  }
  for (int32_t weight : op.weights) {
    if (weight < 0) {
      key += "-";
      continue;
    }
    const graph::Weight& w = graph_.weights[weight];
    absl::StrAppend(&key, "w", w.rows, "x", w.cols, "x", static_cast<int>(w.type));
  }
  for (const GridSignature& option : options_[i]) {
    for (const graph::Signature& s : option) {
      AppendSbps(s.inputs, &key);
      AppendSbps(s.weights, &key);
      AppendSbps(s.outputs, &key);
    }
  }
  return key;
}

bool LayoutRules::Possible(const Reading& reading, Sbp now, Sbp target) const {
  // Chunks are not one run of columns: who has parts of them has them for good.
  const bool chunked = pricing_.partition().over(false, true).Chunks(reading.tensor) > 1;
  if (chunked && (now == Sbp::S(1) || target == Sbp::S(1))) return false;
  // A view of a whole register must not be written through, and who is absent adds nothing only to
  // a sum.
  const Operator* reader = reading.reader;
  if (Split(target)) return reader == nullptr || !WorksInPlace(reader->kind);
  return target != Sbp::P() || (reader != nullptr && reader->kind == v1::ADDITION);
}

double LayoutRules::Convert(const Reading& reading, int from, int wanted, int* made,
                            std::vector<Exchanged>* exchanges) const {
  const int32_t tensor = reading.tensor;
  std::array<Sbp, 2> now = {LetterOf(from, kOuter), LetterOf(from, kInner)};
  double seconds = 0;
  std::array<bool, 2> viewed = {};
  for (int axis : {kInner, kOuter}) {
    const Sbp target = LetterOf(wanted, axis);
    if (now[axis] == target) continue;
    if (!Possible(reading, now[axis], target)) return kNever;
    viewed[axis] = target == Sbp::S(1);
    if (now[axis] == Sbp::B()) continue;
    const bool scattered = now[axis] == Sbp::P() && Split(target) && Scatters(reading.last);
    const Transfer transfer = {axis, now[axis], scattered ? target : Sbp::B(), now[1 - axis]};
    const double cost = pricing_.ExchangeSeconds(tensor, transfer);
    if (exchanges != nullptr) {
      exchanges->push_back({tensor, axis, transfer.from, transfer.to, cost,
                            pricing_.ExchangeBytes(tensor, transfer)});
    }
    seconds += cost;
    now[axis] = transfer.to;
  }
  if ((viewed[kOuter] || viewed[kInner]) &&
      !pricing_.partition().Splits(tensor, LetterOf(wanted, kOuter) == Sbp::S(1),
                                   LetterOf(wanted, kInner) == Sbp::S(1))) {
    return kNever;
  }
  *made = Pair(now[kOuter], now[kInner]);
  return seconds;
}

double LayoutRules::Box(const Reading& reading, int wanted, char16_t* has,
                        std::vector<Exchanged>* exchanges) const {
  if (*has & Bit(wanted)) return 0;
  double least = kNever;
  int from = -1;
  int made = 0;
  for (int pair = 0; pair < kPairs; ++pair) {
    if (!(*has & Bit(pair))) continue;
    int result = 0;
    const double seconds = Convert(reading, pair, wanted, &result, nullptr);
    if (seconds < least) {
      least = seconds;
      from = pair;
      made = result;
    }
  }
  if (from < 0) return kNever;
  if (exchanges != nullptr) Convert(reading, from, wanted, &made, exchanges);
  *has = static_cast<char16_t>(*has | Bit(made));
  return least;
}

double LayoutRules::Apply(size_t i, size_t option, State* state, State* next,
                          std::vector<Exchanged>* exchanges) const {
  const Operator& op = graph_.operators[i];
  const Step& step = steps_[i];
  const GridSignature& s = options_[i][option];
  State& now = *state;
  double seconds = 0;
  for (size_t k = 0; k < op.inputs.size(); ++k) {
    if (op.inputs[k] < 0) continue;
    char16_t& has = now[step.inputs[k]];
    // Others may still read what was exchanged, and its other layouts would be those of before.
    if (WorksInPlace(op.kind) && std::popcount(static_cast<unsigned>(has)) > 1) return kNever;
    seconds += Box({op.inputs[k], &op, step.last[k]}, InputPair(s, k), &has, exchanges);
    if (seconds == kNever) return kNever;
  }
  if (step.seen >= 0 && now[step.seen] != Seen(op, s)) return kNever;
  next->resize(step.survivors.size());
  for (size_t p = 0; p < step.survivors.size(); ++p) {
    const int32_t before = step.survivors[p];
    if (before >= 0) {
      (*next)[p] = now[before];
    } else if (before == kSeen) {
      (*next)[p] = Seen(op, s);
    } else {
      const size_t output = static_cast<size_t>(-1 - before);
      (*next)[p] = Bit(Pair(s[kOuter].outputs[output], s[kInner].outputs[output]));
    }
  }
  return seconds;
}

std::vector<State> LayoutRules::StatesBehind(size_t i) const {
  std::vector<State> states;
  for (const GridSignature& s : options_[i]) {
    State& state = states.emplace_back();
    for (int32_t before : steps_[i].survivors) {
      if (before >= 0 || before == kSeen) return {};
      const size_t output = static_cast<size_t>(-1 - before);
      state.push_back(Bit(Pair(s[kOuter].outputs[output], s[kInner].outputs[output])));
    }
  }
  return states;
}

double LayoutRules::EntrySeconds(size_t i) const {
  const GridPartition& partition = pricing_.partition();
  double seconds = 0;
  for (int32_t slot : live_[i]) {
    if (slot >= static_cast<int32_t>(graph_.tensors.size())) continue;
    for (int axis : {kOuter, kInner}) {
      if (partition.grid().ranks[axis] == 1) continue;
      double most = std::max(pricing_.ExchangeSeconds(slot, {axis, Sbp::P(), Sbp::B(), Sbp::B()}),
                             pricing_.ExchangeSeconds(slot, {axis, Sbp::S(0), Sbp::B(), Sbp::B()}));
      if (partition.Splits(slot, axis == kOuter, axis == kInner)) {
        most =
            std::max(most, pricing_.ExchangeSeconds(slot, {axis, Sbp::S(1), Sbp::B(), Sbp::B()}));
      }
      seconds += 2 * most;
    }
  }
  return seconds;
}

double LayoutRules::Finish(const State& state, std::vector<Exchanged>* exchanges) const {
  char16_t has = state.empty() ? Bit(0) : state[0];
  return Box({graph_.logits, nullptr, true}, 0, &has, exchanges);
}

}  // namespace mneme::plan
