// Published sizes of models whose weights are not at hand: to plan for them and to measure them on
// generated weights.
#ifndef MNEME_LOADER_FAMILIES_SHAPES_H_
#define MNEME_LOADER_FAMILIES_SHAPES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "loader/model/model_description.h"

namespace mneme::loader {

// In the order in which they are shown.
std::vector<std::string> ShapeNames();

// The model of that name, with its first `layers` layers (each as in the whole model, the table as
// long as theirs), or all where layers is 0. What is not published is as in a checkpoint of the
// family. NOT_FOUND names the shapes there are; INVALID_ARGUMENT says how many layers it has.
absl::StatusOr<ModelDescription> DescribeShape(const std::string& name, int64_t layers);

}  // namespace mneme::loader

#endif  // MNEME_LOADER_FAMILIES_SHAPES_H_
