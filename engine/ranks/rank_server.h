// The other side of the front process: a rank in a process of its own. It is set up by the front
// over a channel, loads its weights, and runs the steps that come until the front is gone.
//
// Two connections: on one the front says what to do, in order; on the other the rank tells every
// now and then that it lives and how far it is, and the front can give the current exchange up.
#ifndef MNEME_ENGINE_RANKS_RANK_SERVER_H_
#define MNEME_ENGINE_RANKS_RANK_SERVER_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "engine/ranks/channel.h"

namespace mneme::ranks {

struct RankServerOptions {
  // Of a rank on another host: its own copy of the model; empty: where the front says.
  std::string model_directory;
  std::string build;  // must be the front's
  // Of a rank on another host: what it is called in the ranks' network.
  std::string bind_host;
};

// Serves until the front is gone (OK) or sends what makes no sense (INVALID_ARGUMENT). What keeps
// the rank from being set up is told to the front, which decides.
absl::Status ServeRank(std::unique_ptr<Channel> front, std::unique_ptr<Channel> control,
                       const RankServerOptions& options);

}  // namespace mneme::ranks

#endif  // MNEME_ENGINE_RANKS_RANK_SERVER_H_
