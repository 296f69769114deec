#include "engine/graph/forms.h"

#include "engine/graph/pre_scores.h"
#include "engine/graph/square_sums.h"

namespace mneme::graph {

std::vector<Graph> Forms(const Graph& graph) {
  std::vector<Graph> forms = {graph};
  if (HasFusedPreScores(graph)) forms.push_back(WithPreScores(graph));
  if (HasNormsOverHeads(graph)) {
    const size_t fused = forms.size();
    for (size_t i = 0; i < fused; ++i) forms.push_back(WithSquareSums(forms[i]));
  }
  return forms;
}

}  // namespace mneme::graph
