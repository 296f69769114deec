#include "engine/graph/sbp.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace mneme::graph {
namespace {

void AppendNames(const std::vector<Sbp>& from, std::vector<std::string>* to) {
  for (Sbp sbp : from) to->push_back(SbpName(sbp));
}

}  // namespace

std::string SbpName(Sbp sbp) {
  switch (sbp.kind) {
    case Sbp::Kind::kBroadcast:
      return "B";
    case Sbp::Kind::kSplit:
      return absl::StrCat("S(", static_cast<int>(sbp.axis), ")");
    case Sbp::Kind::kPartial:
      return "P";
  }
  return "?";
}

std::string SignatureName(const Signature& signature) {
  std::vector<std::string> operands;
  AppendNames(signature.inputs, &operands);
  AppendNames(signature.weights, &operands);
  std::vector<std::string> results;
  AppendNames(signature.outputs, &results);
  return absl::StrCat("(", absl::StrJoin(operands, ", "), ") -> ",
                      results.empty() ? "()" : absl::StrJoin(results, ", "));
}

}  // namespace mneme::graph
