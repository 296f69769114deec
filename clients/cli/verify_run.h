// `mneme inspect --verify`.
#ifndef MNEME_CLIENTS_CLI_VERIFY_RUN_H_
#define MNEME_CLIENTS_CLI_VERIFY_RUN_H_

#include <string>

#include "clients/cli/invocation.h"

namespace mneme::cli {

// Checks a native folder against its manifest and prints what it found, as text or as one JSON
// object. The exit status: 0 when there is no difference.
int RunVerify(const Invocation& invocation, const std::string& directory, bool json);

}  // namespace mneme::cli

#endif  // MNEME_CLIENTS_CLI_VERIFY_RUN_H_
