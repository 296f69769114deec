// What a checkpoint holds, in numbers: for `mneme inspect` and for GetModel.
#ifndef MNEME_CLIENTS_CLI_CHECKPOINT_REPORT_H_
#define MNEME_CLIENTS_CLI_CHECKPOINT_REPORT_H_

#include <cstdint>
#include <map>
#include <string>

#include "loader/checkpoint/checkpoint.h"

namespace mneme::cli {

struct TensorCount {
  int64_t tensors = 0;
  int64_t elements = 0;
  int64_t bytes = 0;  // in the files

  bool operator==(const TensorCount&) const = default;
};

// Classes:
//   embedding   token embedding and an own output head
//   dense       what every token reads besides: attention, FFN, norms, routers, a memory layer's
//               projections
//   experts     of a Mixture-of-Experts
//   keys        product keys, their norms, Tucker cores
//   value_rows  value tables with their pre-values
//   buffers     not trained: shuffle permutations, Tucker directions
//   computed    of a converted checkpoint: RoPE tables, norms of keys
//   unused      in the file, but of no use to the model (a memory layer whose output is lost)
struct CheckpointReport {
  std::map<std::string, TensorCount> classes;
  std::map<std::string, TensorCount> dtypes;  // by the file's name of it, "BF16"
  // Elements of all classes but buffers and what is computed.
  int64_t parameters = 0;
  // Of these, what the computation of one token reads: of value tables the selected rows, of
  // experts the chosen ones, of an embedding that is no head one row, and nothing unused.
  int64_t active_parameters = 0;
  TensorCount total;
};

CheckpointReport ReportOn(const loader::Checkpoint& checkpoint);

// The last part of a directory's path.
std::string NameOf(const std::string& directory);

}  // namespace mneme::cli

#endif  // MNEME_CLIENTS_CLI_CHECKPOINT_REPORT_H_
