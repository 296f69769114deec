// Where a server listens.
#ifndef MNEME_SERVER_LISTEN_ADDRESS_H_
#define MNEME_SERVER_LISTEN_ADDRESS_H_

#include <string>

#include "absl/status/statusor.h"

namespace mneme::server {

struct ListenAddress {
  std::string host;
  int port = 0;  // [0, 65535]; 0 takes a free one
};

// Of "HOST:PORT". INVALID_ARGUMENT names the address, and the port that is none.
absl::StatusOr<ListenAddress> ParseListenAddress(const std::string& text);

// Why nobody can listen there, in the system's words ("Address already in use"), by trying;
// "" when it can be done.
std::string WhyNotBound(const ListenAddress& address);

}  // namespace mneme::server

#endif  // MNEME_SERVER_LISTEN_ADDRESS_H_
