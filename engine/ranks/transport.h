// How the ranks of a plan exchange: one rank's end, and what the ranks must tell each other before
// a generation can begin.
#ifndef MNEME_ENGINE_RANKS_TRANSPORT_H_
#define MNEME_ENGINE_RANKS_TRANSPORT_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/runtime/exchange.h"
#include "proto/mneme/v1/ranks.pb.h"

namespace mneme::ranks {

// Where each other rank reaches this one, or this one reaches each other rank; by rank. Of ranks
// that share memory all are empty.
using Addresses = std::vector<std::string>;

class Transport {
 public:
  virtual ~Transport() = default;
  virtual runtime::Exchange* exchange() = 0;
  // What a rank's process inherits of the front's: a descriptor, not given away; -1: nothing.
  virtual int descriptor() const { return -1; }
  // Ends the generation before. REQUIRES: no step runs; of shared memory, on any rank.
  virtual absl::StatusOr<Addresses> Open() = 0;
  // Begins the next one, with what the others opened for this rank; all connect at the same time.
  virtual absl::Status Connect(const Addresses& addresses) = 0;
};

// Rank 0's end, of the setup's transport and plan.
absl::StatusOr<std::unique_ptr<Transport>> MakeFrontTransport(const v1::RankSetup& setup);
// Another rank's, in its process. Takes the descriptor that came with the setup (-1: none).
absl::StatusOr<std::unique_ptr<Transport>> MakeRankTransport(const v1::RankSetup& setup, int fd);

}  // namespace mneme::ranks

#endif  // MNEME_ENGINE_RANKS_TRANSPORT_H_
