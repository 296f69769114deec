#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/graph/signatures.h"
#include "engine/plan/runnable_signatures.h"

namespace mneme::plan {
namespace {

using graph::Graph;
using graph::Operator;
using graph::Sbp;
using graph::Signature;

// Whether `name` is `pattern`, in which * stands for any characters.
bool Matches(const char* pattern, const char* name) {
  if (*pattern == '*') return Matches(pattern + 1, name) || (*name && Matches(pattern, name + 1));
  if (*pattern != *name) return false;
  return *pattern == 0 || Matches(pattern + 1, name + 1);
}

std::string WithoutSpaces(std::string text) {
  std::erase(text, ' ');
  return text;
}

std::string Name(const Operator& op, const Signature& s) {
  return graph::SignatureName(graph::Present(op, s));
}

bool ReadsTable(const Operator& op) {
  return op.kind == v1::VALUE_PREFETCH || op.kind == v1::VALUE_GATHER || op.kind == v1::PRE_SCORE;
}

bool SplitsWeights(const Signature& s) {
  return std::any_of(s.weights.begin(), s.weights.end(),
                     [](Sbp sbp) { return sbp.kind == Sbp::Kind::kSplit; });
}

const char* TableLayoutName(LayoutPins::Tables tables) {
  switch (tables) {
    case LayoutPins::Tables::kRows:
      return "rows";
    case LayoutPins::Tables::kColumns:
      return "columns";
    case LayoutPins::Tables::kSelections:
      return "selections";
    default:
      return "free";
  }
}

bool HasTableLayout(const Signature& s, LayoutPins::Tables tables) {
  switch (tables) {
    case LayoutPins::Tables::kRows:
      return s.weights[0] == Sbp::S(0);
    case LayoutPins::Tables::kColumns:
      return s.weights[0] == Sbp::S(1);
    case LayoutPins::Tables::kSelections:
      return s.inputs[0] == Sbp::S(1);
    default:
      return true;
  }
}

const char* ExpertLayoutName(LayoutPins::Experts experts) {
  return experts == LayoutPins::Experts::kWhole ? "experts" : "width";
}

bool HasExpertLayout(const Signature& s, LayoutPins::Experts experts) {
  return s.weights[0] == Sbp::S(experts == LayoutPins::Experts::kWhole ? 0 : 1);
}

absl::Status Refused(const Operator& op, const std::string& wanted, const Partition& partition,
                     const std::vector<Signature>& possible) {
  std::vector<std::string> names;
  names.reserve(possible.size());
  for (const Signature& s : possible) names.push_back(Name(op, s));
  return absl::InvalidArgumentError(absl::StrCat(
      "operator ", op.name, " cannot have ", wanted, " on ", partition.ranks(),
      partition.ranks() == 1 ? " rank" : " ranks", "; possible: ", absl::StrJoin(names, ", ")));
}

// Keeps what `keep` says, if that leaves anything.
template <class Keep>
bool Restrict(const Keep& keep, std::vector<Signature>* signatures) {
  std::vector<Signature> kept;
  std::copy_if(signatures->begin(), signatures->end(), std::back_inserter(kept), keep);
  if (kept.empty()) return false;
  *signatures = std::move(kept);
  return true;
}

absl::Status Pin(const Graph& graph, const Operator& op, const Partition& partition,
                 const LayoutPins& pins, std::vector<Signature>* signatures) {
  const auto named =
      std::find_if(pins.operators.rbegin(), pins.operators.rend(),
                   [&](const auto& pin) { return Matches(pin.name.c_str(), op.name.c_str()); });
  const bool is_named = named != pins.operators.rend();
  const bool experts = op.kind == v1::EXPERTS && pins.experts != LayoutPins::Experts::kFree;
  // Who asks for a layout gets those, too, that nobody else is given.
  if (experts || (op.kind == v1::EXPERTS && is_named)) {
    *signatures = RunnableSignatures(graph, partition, op, /*narrow=*/true);
  }
  const std::vector<Signature> possible = *signatures;
  if (is_named) {
    const std::string wanted = WithoutSpaces(named->signature);
    const auto keep = [&](const Signature& s) { return WithoutSpaces(Name(op, s)) == wanted; };
    if (Restrict(keep, signatures)) return absl::OkStatus();
    return Refused(op, absl::StrCat("layout '", named->signature, "'"), partition, possible);
  }
  if (ReadsTable(op) && pins.tables != LayoutPins::Tables::kFree) {
    const auto keep = [&](const Signature& s) { return HasTableLayout(s, pins.tables); };
    if (Restrict(keep, signatures)) return absl::OkStatus();
    return Refused(op, absl::StrCat("table layout ", TableLayoutName(pins.tables)), partition,
                   possible);
  }
  if (experts) {
    const auto keep = [&](const Signature& s) { return HasExpertLayout(s, pins.experts); };
    if (Restrict(keep, signatures)) return absl::OkStatus();
    return Refused(op, absl::StrCat("expert layout ", ExpertLayoutName(pins.experts)), partition,
                   possible);
  }
  if (pins.weights == LayoutPins::Weights::kSplit) Restrict(SplitsWeights, signatures);
  return absl::OkStatus();
}

bool Names(const LayoutPins::OperatorPin& pin, const Graph& graph) {
  return std::any_of(graph.operators.begin(), graph.operators.end(), [&](const Operator& op) {
    return Matches(pin.name.c_str(), op.name.c_str());
  });
}

absl::Status CheckNames(const Graph& graph, const LayoutPins& pins) {
  const auto any = [&](const auto& is) {
    return std::any_of(graph.operators.begin(), graph.operators.end(), is);
  };
  for (const LayoutPins::OperatorPin& pin : pins.operators) {
    if (Names(pin, graph)) continue;
    return absl::InvalidArgumentError(absl::StrCat("layout '", pin.signature,
                                                   "' is for an operator '", pin.name,
                                                   "', which the model does not have"));
  }
  if (pins.tables != LayoutPins::Tables::kFree && !any(ReadsTable)) {
    return absl::InvalidArgumentError(absl::StrCat("table layout ", TableLayoutName(pins.tables),
                                                   " is for a model with value tables; ",
                                                   graph.architecture, " has none"));
  }
  const auto experts = [](const Operator& op) { return op.kind == v1::EXPERTS; };
  if (pins.experts != LayoutPins::Experts::kFree && !any(experts)) {
    return absl::InvalidArgumentError(absl::StrCat("expert layout ", ExpertLayoutName(pins.experts),
                                                   " is for a model with experts; ",
                                                   graph.architecture, " has none"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<SignatureOptions> PinnedSignatures(const Graph& graph, const Partition& partition,
                                                  const LayoutPins& pins) {
  if (absl::Status s = CheckNames(graph, pins); !s.ok()) return s;
  SignatureOptions options = RunnableSignatures(graph, partition);
  for (size_t i = 0; i < options.size(); ++i) {
    absl::Status s = Pin(graph, graph.operators[i], partition, pins, &options[i]);
    if (!s.ok()) return s;
  }
  return options;
}

bool HasOperators(const Graph& graph, const LayoutPins& pins) {
  return std::all_of(pins.operators.begin(), pins.operators.end(),
                     [&](const LayoutPins::OperatorPin& pin) { return Names(pin, graph); });
}

std::string PinsText(const LayoutPins& pins) {
  std::vector<std::string> parts;
  if (pins.weights == LayoutPins::Weights::kSplit) parts.push_back("split");
  if (pins.tables != LayoutPins::Tables::kFree) {
    parts.push_back(absl::StrCat("table layout ", TableLayoutName(pins.tables)));
  }
  if (pins.experts != LayoutPins::Experts::kFree) {
    parts.push_back(absl::StrCat("expert layout ", ExpertLayoutName(pins.experts)));
  }
  if (pins.large_steps != LayoutPins::LargeSteps::kFree) {
    const bool rows = pins.large_steps == LayoutPins::LargeSteps::kRows;
    parts.push_back(absl::StrCat("prefill layout ", rows ? "rows" : "same"));
  }
  for (const LayoutPins::OperatorPin& pin : pins.operators) {
    parts.push_back(absl::StrCat(pin.name, "=", pin.signature));
  }
  return parts.empty() ? "free" : absl::StrJoin(parts, ", ");
}

}  // namespace mneme::plan
