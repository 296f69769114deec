// What a verb is given, and how it answers.
#ifndef MNEME_CLIENTS_CLI_INVOCATION_H_
#define MNEME_CLIENTS_CLI_INVOCATION_H_

#include <istream>
#include <ostream>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "clients/cli/flags.h"

namespace mneme::cli {

inline constexpr char kVersion[] = "0.1.0";

// Exit statuses besides 0.
inline constexpr int kExitFailed = 1;         // what was asked could not be done
inline constexpr int kExitUsage = 2;          // the command line is wrong
inline constexpr int kExitInterrupted = 130;  // Ctrl-C, as shells count it

// One run of a verb. Streams are standard input, output and error, or a test's.
struct Invocation {
  std::vector<std::string> arguments;  // after the verb
  std::string executable;              // argv[0], to find what lies beside the binary
  std::istream& in;
  std::ostream& out;
  std::ostream& err;

  // Whether a person sees `err`: then a line may be drawn again and again.
  bool StandardErrorIsTerminal() const;
};

// Prints "mneme VERB: CODE: message" to err; returns the exit status for it.
int Fail(const Invocation& invocation, const std::string& verb, const absl::Status& status);

// Parses the flags. True: go on. False: *exit_status is what to return (the help was printed, or an
// error). max_positionals: one argument more is an error.
bool ParseFlags(const Invocation& invocation, FlagTable* flags, size_t max_positionals,
                int* exit_status);

}  // namespace mneme::cli

#endif  // MNEME_CLIENTS_CLI_INVOCATION_H_
