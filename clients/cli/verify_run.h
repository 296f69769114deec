// `mneme inspect --verify`.
#ifndef MNEME_CLIENTS_CLI_VERIFY_RUN_H_
#define MNEME_CLIENTS_CLI_VERIFY_RUN_H_

#include <ostream>
#include <string>

#include "absl/status/status.h"
#include "clients/cli/invocation.h"

namespace mneme::cli {

// Checks a native folder against its manifest and prints what it found, as text or as one JSON
// object: of a folder that cannot be checked that of PrintRefusal. The exit status: 0 when there is
// no difference.
int RunVerify(const Invocation& invocation, const std::string& directory, bool json);

// What `inspect --json` prints of what it refuses: {"name", "code", "refused": the message}.
void PrintRefusal(const std::string& name, const absl::Status& status, std::ostream& out);

}  // namespace mneme::cli

#endif  // MNEME_CLIENTS_CLI_VERIFY_RUN_H_
