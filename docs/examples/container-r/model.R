# A linear model as a container of SageMaker in R: `Rscript model.R train` and `Rscript model.R serve`. docs/own-container.md
suppressPackageStartupMessages(library(jsonlite))

# On AWS always /opt/ml, 0.0.0.0 and 8080. A command that stands for the image on a machine without containers is told otherwise.
ml <- Sys.getenv("LOCAL_AWS_ML", "/opt/ml")
address <- Sys.getenv("LOCAL_AWS_ADDRESS", "0.0.0.0")
port <- as.integer(Sys.getenv("SAGEMAKER_BIND_TO_PORT", "8080"))
artifact <- file.path(ml, "model", "model.rds")

rows_of <- function(text, columns) {
  rows <- read.csv(text = text, header = FALSE, na.strings = "", check.names = FALSE)
  if (ncol(rows) != length(columns)) stop(sprintf("%d values in a row, expected %s", ncol(rows), toString(columns)))
  setNames(rows, columns)
}

channel <- function(name, columns) {
  files <- list.files(file.path(ml, "input", "data", name), "[.]csv$", recursive = TRUE, full.names = TRUE)
  texts <- lapply(files[file.size(files) > 0], function(file) paste(readLines(file, encoding = "UTF-8"), collapse = "\n"))
  do.call(rbind, lapply(texts, rows_of, columns = columns))
}

train <- function() {
  job <- fromJSON(file.path(ml, "input", "data", "job", "job.json"))
  settings <- fromJSON(file.path(ml, "input", "config", "hyperparameters.json"))
  columns <- job$csv_columns                     # the target first, as in the files, which have no header
  target <- job$contract$target
  formula <- if (is.null(settings$formula)) paste0("`", target, "` ~ .") else settings$formula
  rows <- channel("train", columns)
  fitted <- lm(as.formula(formula), rows)
  for (name in c("train", "validation")) {
    seen <- channel(name, columns)
    loss <- mean((predict(fitted, seen) - seen[[target]])^2)
    cat(sprintf("%s:loss=%.6f; %s:rmse=%.6f;\n", name, loss, name, sqrt(loss)))
  }
  saveRDS(list(fitted = fitted, inputs = setdiff(columns, target)), artifact)
}

answer <- function(status, body, type = "application/json") {
  list(status = status, headers = list("Content-Type" = type), body = body)
}

serve <- function() {
  model <- readRDS(artifact)
  respond <- function(request) {
    if (request$PATH_INFO == "/ping") return(answer(200L, "{}"))
    if (request$PATH_INFO != "/invocations") return(answer(404L, "ask /invocations", "text/plain"))
    tryCatch({
      rows <- rows_of(rawToChar(request$rook.input$read()), model$inputs)
      predictions <- unname(predict(model$fitted, rows))
      if (anyNA(predictions)) stop("a value is missing, which this model does not answer")
      answer(200L, toJSON(list(predictions = predictions), digits = NA))
    }, error = function(wrong) answer(400L, conditionMessage(wrong), "text/plain"))
  }
  httpuv::runServer(address, port, list(call = respond))
}

tryCatch(
  switch(commandArgs(TRUE)[1], train = train(), serve = serve(), stop("say train or serve")),
  error = function(wrong) {
    failure <- file.path(ml, "output", "failure")          # what FailureReason of the job will say
    if (dir.exists(dirname(failure))) writeLines(conditionMessage(wrong), failure)
    message(conditionMessage(wrong))
    quit(status = 1)
  }
)
