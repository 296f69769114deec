// Which weights a model has, and their shapes: what a checkpoint in our own terms must hold.
#ifndef MNEME_LOADER_MODEL_MODEL_WEIGHTS_H_
#define MNEME_LOADER_MODEL_MODEL_WEIGHTS_H_

#include <cstdint>
#include <map>
#include <string>

#include "loader/model/model_description.h"
#include "loader/model/weight_role.h"

namespace mneme::loader {

// rows x cols elements (a vector is one column of rows). Of stacked matrices (the experts') each
// one's; of a value table `cols` are a row's values, with pre_cols pre-values before them.
struct WeightShape {
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t stack = 0;  // matrices of a stack; 0: it is one matrix
  int64_t pre_cols = 0;

  bool operator==(const WeightShape&) const = default;
};

// "[8, 16]", "4 x [8, 16]", "[8, 4 + 16]".
std::string WeightShapeText(const WeightShape& shape);

// Every weight that a checkpoint of this model has, those included that are computed from others
// and those of memory layers whose output is lost. The head is there whether it is tied or not.
std::map<WeightId, WeightShape> ModelWeights(const ModelDescription& model);

}  // namespace mneme::loader

#endif  // MNEME_LOADER_MODEL_MODEL_WEIGHTS_H_
