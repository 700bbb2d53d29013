#include "hub/http.h"

#include <curl/curl.h>
#include <dlfcn.h>

#include <algorithm>

#include "base/error.h"

namespace fovea::hub {
namespace {

// clang-format off
#define FOVEA_CURL_FUNCTIONS(X)                                                                                  \
  X(curl_global_init) X(curl_easy_init) X(curl_easy_setopt) X(curl_easy_getinfo) X(curl_easy_cleanup)            \
  X(curl_easy_strerror) X(curl_slist_append) X(curl_slist_free_all) X(curl_multi_init) X(curl_multi_cleanup)     \
  X(curl_multi_add_handle) X(curl_multi_remove_handle) X(curl_multi_perform) X(curl_multi_poll)                  \
  X(curl_multi_info_read) X(curl_multi_strerror) X(curl_url) X(curl_url_set) X(curl_url_get) X(curl_url_cleanup) \
  X(curl_free) X(curl_version_info)
// clang-format on

// libcurl's headers turn these into macros of the same names.
#undef curl_easy_setopt
#undef curl_easy_getinfo

struct Library {
#define FOVEA_DECLARE(name) decltype(&::name) name = nullptr;
  FOVEA_CURL_FUNCTIONS(FOVEA_DECLARE)
#undef FOVEA_DECLARE
  bool is_loaded = false;
};

// Loaded once and kept for the life of the process.
const Library& Curl() {
  static const Library library = [] {
    Library loaded;
    void* handle = nullptr;
    for (const char* name : {"libcurl.so.4", "libcurl-gnutls.so.4"}) {
      if (handle == nullptr) handle = ::dlopen(name, RTLD_NOW | RTLD_LOCAL);
    }
    if (handle == nullptr) return loaded;
    loaded.is_loaded = true;
#define FOVEA_LOAD(name)                                                     \
  loaded.name = reinterpret_cast<decltype(&::name)>(::dlsym(handle, #name)); \
  loaded.is_loaded = loaded.is_loaded && loaded.name != nullptr;
    FOVEA_CURL_FUNCTIONS(FOVEA_LOAD)
#undef FOVEA_LOAD
    loaded.is_loaded = loaded.is_loaded && loaded.curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
    return loaded;
  }();
  return library;
}
#undef FOVEA_CURL_FUNCTIONS

void RequireCurl() {
  if (Curl().is_loaded) return;
  Fail(ErrorCode::kUnimplemented, "[hub] fetching needs libcurl 7.85 or later, which is not there; hint: apt install ",
       "libcurl4");
}

// The parts of an absolute URL; empty when it is none.
struct Url {
  std::string scheme, user, host, port, path, query;

  static Url Parse(const std::string& text) {
    RequireCurl();
    const Library& curl = Curl();
    Url url;
    CURLU* handle = curl.curl_url();
    const auto part = [&](CURLUPart which, unsigned flags = 0) {
      char* value = nullptr;
      if (curl.curl_url_get(handle, which, &value, flags) != CURLUE_OK || value == nullptr) return std::string();
      std::string copy = value;
      curl.curl_free(value);
      return copy;
    };
    if (handle != nullptr && curl.curl_url_set(handle, CURLUPART_URL, text.c_str(), 0) == CURLUE_OK) {
      url = {base::AsciiLower(part(CURLUPART_SCHEME)), part(CURLUPART_USER), base::AsciiLower(part(CURLUPART_HOST)),
             part(CURLUPART_PORT, CURLU_DEFAULT_PORT), part(CURLUPART_PATH), part(CURLUPART_QUERY)};
    }
    curl.curl_url_cleanup(handle);
    return url;
  }

  bool HasSameOriginAs(const Url& other) const {
    return scheme == other.scheme && host == other.host && port == other.port;
  }
};

bool IsRedirect(int64_t status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

std::string Trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r\n"), end = text.find_last_not_of(" \t\r\n");
  return begin == std::string_view::npos ? "" : std::string(text.substr(begin, end - begin + 1));
}

constexpr size_t kMostHeaderBytes = 256 << 10;  // of one answer; libcurl limits each line

// One exchange on its way: the curl handle of the current hop.
struct Transfer {
  std::shared_ptr<Exchange> exchange;
  Url origin, current;
  std::string url;  // of the current hop
  CURL* easy = nullptr;
  curl_slist* headers = nullptr;
  int64_t hops = 0;
  size_t header_bytes = 0;
  bool is_told = false;  // on_response was called
  char reason[CURL_ERROR_SIZE] = "";

  ~Transfer() {
    Curl().curl_slist_free_all(headers);
    if (easy != nullptr) Curl().curl_easy_cleanup(easy);
  }

  // Before the first byte of a body, or at the end of an answer that has none.
  void TellResponse() {
    if (is_told) return;
    is_told = true;
    long status = 0;
    Curl().curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    exchange->response.status = status;
    if (hops == 0) exchange->response.first_headers = exchange->response.headers;
    if (exchange->on_response) exchange->on_response(exchange->response);
  }

  size_t OnHeader(std::string_view line) {
    Response& response = exchange->response;
    header_bytes += line.size();
    if (header_bytes > kMostHeaderBytes) return 0;
    if (line.starts_with("HTTP/")) {  // also after "100 Continue" and the answer of a proxy
      response.headers.clear();
      return line.size();
    }
    const size_t colon = line.find(':');
    if (colon != std::string_view::npos)
      response.headers[base::AsciiLower(Trimmed(line.substr(0, colon)))] = Trimmed(line.substr(colon + 1));
    return line.size();
  }

  size_t OnBody(std::span<const uint8_t> bytes) {
    long status = 0;
    Curl().curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    if (IsRedirect(status)) return bytes.size();  // what a redirect says besides is of no interest
    try {
      TellResponse();
      if (exchange->on_body) exchange->on_body(bytes);
      return bytes.size();
    } catch (...) {
      exchange->error = std::current_exception();
      return 0;
    }
  }
};

size_t HeaderCallback(char* data, size_t size, size_t count, void* transfer) {
  return static_cast<Transfer*>(transfer)->OnHeader({data, size * count});
}

size_t BodyCallback(char* data, size_t size, size_t count, void* transfer) {
  return static_cast<Transfer*>(transfer)->OnBody({reinterpret_cast<const uint8_t*>(data), size * count});
}

}  // namespace

struct HttpSession::Impl {
  Options options;
  CURLM* multi = nullptr;
  std::vector<std::unique_ptr<Transfer>> transfers;

  template <typename Value>
  static void Set(CURL* easy, CURLoption option, Value value) {
    const CURLcode code = Curl().curl_easy_setopt(easy, option, value);
    if (code != CURLE_OK) {
      Fail(ErrorCode::kUnimplemented, "[hub] this libcurl (", CurlVersion(),
           ") lacks an option that fetching needs: ", Curl().curl_easy_strerror(code));
    }
  }

  // Sends the request of the current hop.
  void Send(Transfer& transfer) {
    const Library& curl = Curl();
    if (transfer.easy != nullptr) curl.curl_easy_cleanup(transfer.easy);
    curl.curl_slist_free_all(transfer.headers);
    transfer.headers = nullptr;
    transfer.header_bytes = 0;
    transfer.is_told = false;
    transfer.reason[0] = '\0';
    transfer.easy = curl.curl_easy_init();
    if (transfer.easy == nullptr) Fail(ErrorCode::kInternal, "[hub] libcurl makes no handle");
    std::vector<std::string> lines = transfer.exchange->headers;
    const std::string& token = transfer.exchange->token;
    if (!token.empty() && transfer.current.HasSameOriginAs(transfer.origin) && IsSafeForSecrets(transfer.url))
      lines.push_back("Authorization: Bearer " + token);
    for (const std::string& line : lines) transfer.headers = curl.curl_slist_append(transfer.headers, line.c_str());
    CURL* easy = transfer.easy;
    Set(easy, CURLOPT_URL, transfer.url.c_str());
    Set(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    Set(easy, CURLOPT_FOLLOWLOCATION, 0L);
    Set(easy, CURLOPT_SSL_VERIFYPEER, 1L);
    Set(easy, CURLOPT_SSL_VERIFYHOST, 2L);
    Set(easy, CURLOPT_NOSIGNAL, 1L);
    Set(easy, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(options.connect_timeout_ms));
    Set(easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
    Set(easy, CURLOPT_LOW_SPEED_TIME, static_cast<long>(options.stall_timeout_s));
    Set(easy, CURLOPT_USERAGENT, "fovea/" FOVEA_VERSION);
    Set(easy, CURLOPT_HTTPHEADER, transfer.headers);
    Set(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    Set(easy, CURLOPT_ERRORBUFFER, transfer.reason);
    Set(easy, CURLOPT_HEADERFUNCTION, &HeaderCallback);
    Set(easy, CURLOPT_HEADERDATA, &transfer);
    Set(easy, CURLOPT_WRITEFUNCTION, &BodyCallback);
    Set(easy, CURLOPT_WRITEDATA, &transfer);
    Set(easy, CURLOPT_PRIVATE, &transfer);
    Set(easy, CURLOPT_BUFFERSIZE, 256L << 10);
    const CURLMcode code = curl.curl_multi_add_handle(multi, easy);
    if (code != CURLM_OK) Fail(ErrorCode::kInternal, "[hub] libcurl: ", curl.curl_multi_strerror(code));
  }

  // Goes on to where a redirect leads; true when it does.
  bool Follow(Transfer& transfer) {
    Exchange& exchange = *transfer.exchange;
    long status = 0;
    char* target = nullptr;
    Curl().curl_easy_getinfo(transfer.easy, CURLINFO_RESPONSE_CODE, &status);
    if (!IsRedirect(status)) return false;
    Curl().curl_easy_getinfo(transfer.easy, CURLINFO_REDIRECT_URL, &target);
    const std::string from = transfer.current.host;
    if (target == nullptr)
      Fail(ErrorCode::kCorruptData, "[hub] ", from, " answered ", status, " and did not say where to go");
    const std::string next = target;
    const Url url = Url::Parse(next);
    if (++transfer.hops > options.most_redirects)
      Fail(ErrorCode::kIo, "[hub] ", from, " redirects more than ", options.most_redirects, " times");
    if (url.scheme != "https" && url.scheme != "http")
      Fail(ErrorCode::kIo, "[hub] ", from, " redirects to something that is neither https nor http");
    if (transfer.current.scheme == "https" && url.scheme != "https")
      Fail(ErrorCode::kIo, "[hub] ", from, " redirects from https to http at ", url.host, "; refused");
    if (transfer.hops == 1) exchange.response.first_headers = std::move(exchange.response.headers);
    exchange.response.headers.clear();
    transfer.url = next;
    transfer.current = url;
    exchange.host = url.host;
    exchange.is_elsewhere = !url.HasSameOriginAs(transfer.origin);
    Send(transfer);
    return true;
  }

  // A transfer has ended with `code`; decides what became of its exchange. True when it goes on instead.
  bool End(Transfer& transfer, CURLcode code) {
    Exchange& exchange = *transfer.exchange;
    if (exchange.error) return false;
    try {
      if (code == CURLE_OK) {
        if (Follow(transfer)) return true;
        curl_off_t wait = 0;
        Curl().curl_easy_getinfo(transfer.easy, CURLINFO_RETRY_AFTER, &wait);
        exchange.retry_after_s = wait;
        transfer.TellResponse();
        return false;
      }
      const std::string reason = transfer.reason[0] != '\0' ? transfer.reason : Curl().curl_easy_strerror(code);
      if (code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE ||
          code == CURLE_SSL_ISSUER_ERROR) {
        Fail(ErrorCode::kIo, "[hub] the certificate of ", transfer.current.host,
             " cannot be trusted: ", base::PrintableUtf8(reason));
      }
      exchange.is_unreachable =
          code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_COULDNT_RESOLVE_PROXY || code == CURLE_COULDNT_CONNECT;
      exchange.broken = base::PrintableUtf8(reason);
      if (code == CURLE_OPERATION_TIMEDOUT) {
        curl_off_t connected = 0;
        Curl().curl_easy_getinfo(transfer.easy, CURLINFO_CONNECT_TIME_T, &connected);
        exchange.is_unreachable = connected == 0;
      }
    } catch (...) {
      exchange.error = std::current_exception();
    }
    return false;
  }
};

std::string Response::Header(const std::string& name) const {
  const auto found = headers.find(name);
  return found == headers.end() ? "" : found->second;
}

std::string Response::FirstHeader(const std::string& name) const {
  const auto found = first_headers.find(name);
  return found == first_headers.end() ? "" : found->second;
}

HttpSession::HttpSession(const Options& options) : impl_(new Impl{.options = options}) {
  RequireCurl();
  impl_->multi = Curl().curl_multi_init();
  if (impl_->multi == nullptr) Fail(ErrorCode::kInternal, "[hub] libcurl does not start");
}

HttpSession::~HttpSession() {
  Stop();
  Curl().curl_multi_cleanup(impl_->multi);
}

void HttpSession::Stop() {
  for (const auto& transfer : impl_->transfers) {
    transfer->exchange->on_response = nullptr;
    transfer->exchange->on_body = nullptr;
    if (transfer->easy != nullptr) Curl().curl_multi_remove_handle(impl_->multi, transfer->easy);
  }
  impl_->transfers.clear();
}

void HttpSession::Start(std::shared_ptr<Exchange> exchange) {
  auto transfer = std::make_unique<Transfer>();
  transfer->url = exchange->url;
  transfer->origin = transfer->current = Url::Parse(exchange->url);
  exchange->host = transfer->origin.host;
  transfer->exchange = std::move(exchange);
  impl_->Send(*transfer);
  impl_->transfers.push_back(std::move(transfer));
}

std::vector<std::shared_ptr<Exchange>> HttpSession::Run(int wait_ms) {
  const Library& curl = Curl();
  int running = 0, left = 0;
  CURLMcode code = curl.curl_multi_poll(impl_->multi, nullptr, 0, wait_ms, nullptr);
  if (code == CURLM_OK) code = curl.curl_multi_perform(impl_->multi, &running);
  if (code != CURLM_OK) Fail(ErrorCode::kInternal, "[hub] libcurl: ", curl.curl_multi_strerror(code));
  std::vector<std::shared_ptr<Exchange>> ended;
  while (const CURLMsg* message = curl.curl_multi_info_read(impl_->multi, &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    const CURLcode result = message->data.result;
    CURL* easy = message->easy_handle;
    const auto found = std::find_if(impl_->transfers.begin(), impl_->transfers.end(),
                                    [&](const auto& transfer) { return transfer->easy == easy; });
    curl.curl_multi_remove_handle(impl_->multi, easy);
    if (found == impl_->transfers.end() || impl_->End(**found, result)) continue;
    ended.push_back((*found)->exchange);
    impl_->transfers.erase(found);
  }
  return ended;
}

std::string UrlEscaped(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    const auto byte = static_cast<uint8_t>(c);
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
        c == '.' || c == '~') {
      escaped += c;
    } else {
      escaped += '%';
      escaped += "0123456789ABCDEF"[byte >> 4];
      escaped += "0123456789ABCDEF"[byte & 15];
    }
  }
  return escaped;
}

std::string CheckedEndpoint(const std::string& endpoint) {
  const Url url = Url::Parse(endpoint);
  Require(
      (url.scheme == "https" || url.scheme == "http") && endpoint.find("://") != std::string::npos &&
          !url.host.empty() && url.user.empty() && url.query.empty() && endpoint.find('#') == std::string::npos,
      "[hub] expected the hub's address as https://host[:port], without user name or query; hint: look at HF_ENDPOINT");
  std::string checked = endpoint;
  while (checked.ends_with('/')) checked.pop_back();
  return checked;
}

bool IsSafeForSecrets(const std::string& url) {
  const Url parts = Url::Parse(url);
  return parts.scheme == "https" || parts.host == "localhost" || parts.host == "127.0.0.1" || parts.host == "[::1]";
}

std::string CurlVersion() { return Curl().is_loaded ? Curl().curl_version_info(CURLVERSION_NOW)->version : ""; }

}  // namespace fovea::hub
