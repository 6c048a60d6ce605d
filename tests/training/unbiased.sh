# unbiased.sh: is_unbiased, for tests that source it.

# is_unbiased TABLE: no parameter's mean gradient, of what a trainer's --variance printed, is further than 4 standard errors from the exact
# one, and there is some variance. columns: parameter |g| variance predicted ratio bias s.e. bias/s.e. z of the projection, between batches
is_unbiased() {
  awk '$1 == "parameter" { in_table = 1; next }
    in_table && $1 != "(all)" {
      parameters++
      if ($6 > 4 * $7 + 1e-5) { bad++; print $1 ": mean is off by " $8 " standard errors" }
      if (($9 > 4 || $9 < -4) && $6 > 1e-5) { bad++; print $1 ": projection is off by " $9 " standard errors" }
      variance += $3 * $2 * $2; norm += $2 * $2
    }
    END { printf "%d parameters; variance %.3g of |g|^2\n", parameters, variance / norm; exit bad > 0 || parameters < 10 || !variance }' "$1"
}
