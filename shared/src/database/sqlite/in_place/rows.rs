//! Rows as they come out.

use std::sync::Arc;

use sqlx_core::{column::ColumnIndex, error::Error};

use super::{
    InPlace, Prepared,
    values::{Kind, Value, ValueRef},
};

/// A row, apart from the statement that found it.
#[derive(Debug)]
pub struct Row {
    values: Vec<Value>,
    columns: Arc<[Column]>,
}

impl Row {
    pub(super) fn read(row: &rusqlite::Row<'_>, columns: Arc<[Column]>) -> rusqlite::Result<Self> {
        let values =
            (0..columns.len()).map(|index| Ok(Value::new(row.get(index)?))).collect::<rusqlite::Result<_>>()?;
        Ok(Self { values, columns })
    }
}

impl sqlx_core::row::Row for Row {
    type Database = InPlace;

    fn columns(&self) -> &[Column] {
        &self.columns
    }

    fn try_get_raw<I: ColumnIndex<Self>>(&self, index: I) -> Result<ValueRef<'_>, Error> {
        Ok(self.values[index.index(self)?].by_ref())
    }
}

sqlx_core::impl_column_index_for_row!(Row);
sqlx_core::impl_column_index_for_statement!(Prepared);

impl ColumnIndex<Row> for &'_ str {
    fn index(&self, row: &Row) -> Result<usize, Error> {
        named(&row.columns, self)
    }
}

impl ColumnIndex<Prepared> for &'_ str {
    fn index(&self, statement: &Prepared) -> Result<usize, Error> {
        named(&statement.columns, self)
    }
}

fn named(columns: &[Column], name: &str) -> Result<usize, Error> {
    columns.iter().position(|column| &*column.name == name).ok_or_else(|| Error::ColumnNotFound(name.to_owned()))
}

/// A column of a result.
#[derive(Clone, Debug)]
pub struct Column {
    ordinal: usize,
    name: Box<str>,
}

impl Column {
    pub(super) fn new(ordinal: usize, name: &str) -> Self {
        Self { ordinal, name: name.into() }
    }
}

impl sqlx_core::column::Column for Column {
    type Database = InPlace;

    fn ordinal(&self) -> usize {
        self.ordinal
    }

    fn name(&self) -> &str {
        &self.name
    }

    /// In SQLite the type is the value's; a column has none.
    fn type_info(&self) -> &Kind {
        &Kind::Null
    }
}
