// What a checkpoint family hands back: its config and tensor names turned into our model
// description and weight roles. A family is one entry of loader/checkpoint and its own files here;
// nothing else knows its names.
#ifndef MNEME_LOADER_FAMILIES_FAMILY_H_
#define MNEME_LOADER_FAMILIES_FAMILY_H_

#include "loader/checkpoint/weight_source.h"
#include "loader/model/model_description.h"

namespace mneme::loader {

struct FamilyModel {
  ModelDescription model;
  WeightSources weights;  // parts point into the TensorFiles they were found in
};

}  // namespace mneme::loader

#endif  // MNEME_LOADER_FAMILIES_FAMILY_H_
